"""Operations: who registered is told of runs that end; signed, retried, given up visibly, and never lured inside."""

import json
import socket
import ssl
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from standardwebhooks import Webhook

from app.analysis import repository as records
from app.audit import repository as audit
from app.audit.models import EventType
from app.database import Database
from app.errors import WebhookAddressError
from app.metrics import Metrics
from app.orm import utc_now
from app.webhooks import repository, service
from app.webhooks.addresses import resolve
from app.webhooks.deliverer import SCHEDULE, Deliverer
from app.webhooks.models import DeliveryState, WebhookDelivery
from app.webhooks.signing import new_secret, signed_headers

MakeClient = Callable[..., TestClient]
WaitUntil = Callable[[Callable[[], bool]], None]
LOOPBACK = (ip_network("127.0.0.0/8"),)
CERTIFICATE = Path(__file__).with_name("hook.test.pem")
"""Signed by itself for hook.test, with its key: for this test only."""
NO_PAUSE = (timedelta(0),) * 2


@dataclass
class Receiver:
    """A real server on loopback, which does as `behaviour` says and notes what came."""

    behaviour: str = "200"
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""
    certificate: Path | None = None
    let_go: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator["Receiver"]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append(({k.lower(): v for k, v in self.headers.items()}, body))
                if receiver.behaviour == "hang":
                    receiver.let_go.wait(30)
                    self.close_connection = True
                elif receiver.behaviour == "drip":  # each byte would start a socket's own limit anew
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
                    while not receiver.let_go.wait(0.1):
                        self.wfile.write(b"x")
                else:
                    status, _, more = receiver.behaviour.partition(" ")
                    self.send_response(int(status))
                    if more:
                        self.send_header(*more.split("=", 1))
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_request(self, *told: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # the deliverer hangs up on a server that drips

        server = Server(("127.0.0.1", 0), Handler)
        if self.certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_address[1]}/hook?for=us"
        try:
            yield self
        finally:
            self.let_go.set()
            server.shutdown()
            thread.join()
            server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().running() as receiver:
        yield receiver


@pytest.fixture
def happen(new_record: Any) -> Callable[..., uuid.UUID]:
    """`happen(database)`: a run that ended, as the trail tells it; the analysis's id."""

    def append(database: Database, kind: EventType = EventType.RUN_DONE, **details: Any) -> uuid.UUID:
        record = new_record()
        with database.write() as session:
            records.add(session, record)
            audit.append(session, kind, actor="ada", analysis_id=record.id, details=details)
        analysis_id: uuid.UUID = record.id
        return analysis_id

    return append


def registered(database: Database, url: str, *events: str) -> tuple[uuid.UUID, str]:
    with database.write() as session:
        endpoint = service.register(session, "admin", url, events or ("run.done", "run.failed"))
        return endpoint.id, endpoint.secret


@contextmanager
def delivering(database: Database, **options: Any) -> Iterator[Deliverer]:
    deliverer = Deliverer(database, LOOPBACK, Metrics(), **{"schedule": NO_PAUSE, "timeout_s": 0.5, **options})
    yield deliverer
    deliverer.close()


def deliveries(database: Database, endpoint_id: uuid.UUID) -> list[WebhookDelivery]:
    with database.read() as session:
        return list(repository.deliveries(session, endpoint_id, None, limit=100, offset=0))


def tick_until(deliverer: Deliverer, wait_until: WaitUntil, condition: Callable[[], bool]) -> None:
    def ticked() -> bool:
        deliverer.tick()
        return condition()

    wait_until(ticked)


def test_the_signature_is_that_of_the_published_example() -> None:
    headers = signed_headers(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        b'{"test": 2432232314}',
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_rotated_secret_and_the_one_of_before_both_verify_with_the_reference_library() -> None:
    secrets = [new_secret(), new_secret()]
    now = int(datetime.now(UTC).timestamp())
    headers = signed_headers(secrets, "msg_1", now, b'{"a":1}')
    for secret in secrets:
        assert Webhook(secret).verify(b'{"a":1}', headers) == {"a": 1}


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://localhost/",
        "https://10.0.0.1/",
        "https://172.16.9.9/",
        "https://192.168.1.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://100.64.0.1/",
        "https://0.0.0.0/",
        "https://224.0.0.1/",
        "https://255.255.255.255/",
        "https://2130706433/",  # 127.0.0.1 as one number
        "https://0x7f.1/",
        "https://[::1]/",
        "https://[::]/",
        "https://[fe80::1]/",
        "https://[fc00::1]/",
        "https://[fd00:ec2::254]/",
        "https://[ff02::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[2002:7f00:1::]/",  # 6to4
        "https://[2002:5db8:d822::]/",  # through whoever relays 6to4, to a public address
        "https://[2001:0:5db8:d822::1]/",  # Teredo
        "https://[64:ff9b::a9fe:a9fe]/",  # NAT64 of the metadata service
        "https://[64:ff9b:1::7f00:1]/",  # NAT64 by a network's own prefix
        "https://[::ffff:0:127.0.0.1]/",  # translated
        "https://[::169.254.169.254]/",  # compatible
        "https://[fec0::1]/",  # site-local
        "https://[100::1]/",  # discarded
        "https://[2001:db8::1]/",  # documentation
        "https://[3fff::1]/",
        "https://[5f00::1]/",  # segments of routes
        "https://192.0.0.192/",  # a cloud's metadata
        "http://93.184.216.34/",  # public, but anybody on the way could read it
        "ftp://93.184.216.34/",
        "https://user:pass@93.184.216.34/",
        "https://93.184.216.34/#x",
        "https://93.184.216.34:99999/",
        "https://93.184.216.34/a b",
        "https:///x",
        "https://name.invalid/",
        "https://93.184.216.34/" + "x" * 2_048,
    ],
)
def test_where_webhooks_must_not_go(url: str) -> None:
    with pytest.raises(WebhookAddressError):
        resolve(url, allowed=())


def test_public_addresses_and_allowed_networks_are_reached() -> None:
    public = resolve("https://93.184.216.34/hook?a=1", allowed=())
    assert (public.address, public.port, public.path) == ("93.184.216.34", 443, "/hook?a=1")
    assert resolve("https://[2606:2800:220:1::1]:8443", allowed=()).port == 8443
    for same in ("[::ffff:93.184.216.34]", "[64:ff9b::5db8:d822]"):  # by whatever this host's network translates
        assert resolve(f"https://{same}/", allowed=()).port == 443
    own_nat64 = (ip_network("64:ff9b:1::/48"),)
    assert resolve("https://[64:ff9b:1::7f00:1]/", own_nat64).address == "64:ff9b:1::7f00:1"
    assert resolve("http://127.0.0.1:8080/", LOOPBACK).address == "127.0.0.1"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_registered_url_is_told_of_runs_by_a_message_that_verifies(
    make_client: MakeClient, upload: Any, receiver: Receiver, wait_until: WaitUntil, kind: str
) -> None:
    client = make_client(kind=kind, webhook_networks=LOOPBACK)
    earlier = upload(client)
    client.post(f"/v1/analysis/{earlier}/run")
    made = client.post("/v1/webhooks", json={"url": receiver.url})
    assert made.status_code == 201, made.text
    done, failed = upload(client), upload(client, "raise_input-1.wav")
    run_id = client.post(f"/v1/analysis/{done}/run").json()["run_id"]
    client.post(f"/v1/analysis/{failed}/run")
    wait_until(lambda: len(receiver.requests) == 2)
    told = [Webhook(made.json()["secret"]).verify(body, headers) for headers, body in receiver.requests]
    assert [message["type"] for message in told] == ["run.done", "run.failed"]
    assert told[0]["data"] == {
        "analysis_id": done,
        "run_id": run_id,
        "model_version": "dummy-1",
        "verdict": "SUSPICIOUS",
        "p_fake": told[0]["data"]["p_fake"],
    }
    assert told[1]["data"]["failure_code"] == "media_unreadable"
    assert receiver.requests[0][0]["content-type"] == "application/json"
    path = f"/v1/webhooks/{made.json()['id']}/deliveries"
    wait_until(lambda: [i["state"] for i in client.get(path).json()["items"]] == ["DELIVERED"] * 2)
    (listed,) = client.get("/v1/webhooks").json()["items"]
    assert (listed["pending"], listed["given_up"]) == (0, 0)
    assert "secret" not in listed
    assert 'earwitness_webhook_attempts_total{result="delivered"} 2.0' in client.get("/metrics").text


def test_registering_rotating_and_removing_are_events_and_secrets_are_shown_once(
    make_client: MakeClient, receiver: Receiver
) -> None:
    client = make_client(webhook_networks=LOOPBACK)
    made = client.post("/v1/webhooks", json={"url": receiver.url, "events": ["run.failed"]}).json()
    rotated = client.post(f"/v1/webhooks/{made['id']}/rotate").json()
    assert rotated["secret"] != made["secret"] and rotated["previous_secret_until"]
    assert client.get("/v1/audit/chain").json() == {
        **client.get("/v1/audit/chain").json(),
        "intact": True,
        "events": 2,
    }
    assert client.delete(f"/v1/webhooks/{made['id']}").status_code == 204
    assert client.get("/v1/webhooks").json() == {"items": []}
    gone = client.delete(f"/v1/webhooks/{made['id']}")
    assert (gone.status_code, gone.json()["code"]) == (404, "webhook_not_found")


@pytest.mark.parametrize(
    "order",
    [
        {"url": "http://127.0.0.1:1/"},
        {"url": "https://169.254.169.254/"},
        {"url": "https://93.184.216.34/", "events": []},
        {"url": "https://93.184.216.34/", "events": ["run.started"]},
        {"url": "https://93.184.216.34/", "secret": "mine"},
    ],
)
def test_an_order_that_can_t_be_kept_is_422(client: TestClient, order: dict[str, Any]) -> None:
    assert client.post("/v1/webhooks", json=order).status_code == 422


def test_a_failing_endpoint_is_tried_by_the_schedule_then_given_up_and_tried_again_on_request(
    database: Database, receiver: Receiver, happen: Any, wait_until: WaitUntil
) -> None:
    endpoint_id, _ = registered(database, receiver.url)
    receiver.behaviour = "500"
    happen(database)
    with delivering(database) as deliverer:
        tick_until(deliverer, wait_until, lambda: states(database, endpoint_id) == ["GIVEN_UP"])
        (delivery,) = deliveries(database, endpoint_id)
        assert (delivery.attempts, delivery.last_status, delivery.last_error) == (3, 500, "answered 500")
        assert len({headers["webhook-id"] for headers, _ in receiver.requests}) == 1
        assert len({body for _, body in receiver.requests}) == 1
        receiver.behaviour = "204"
        with database.write() as session:
            service.try_again(session, endpoint_id, delivery.id)
        tick_until(deliverer, wait_until, lambda: states(database, endpoint_id) == ["DELIVERED"])
    assert len(receiver.requests) == 4


def states(database: Database, endpoint_id: uuid.UUID) -> list[str]:
    return [delivery.state.value for delivery in deliveries(database, endpoint_id)]


def test_the_schedule_is_that_of_standard_webhooks_and_waits(
    database: Database, receiver: Receiver, happen: Any, wait_until: WaitUntil
) -> None:
    assert sum(SCHEDULE, timedelta()) == timedelta(hours=75, minutes=35, seconds=5)
    endpoint_id, _ = registered(database, receiver.url)
    receiver.behaviour = "503"
    happen(database)
    with delivering(database, schedule=SCHEDULE) as deliverer:
        tick_until(
            deliverer, wait_until, lambda: deliveries(database, endpoint_id)[-1:] != [] and bool(receiver.requests)
        )
        tick_until(deliverer, wait_until, lambda: deliveries(database, endpoint_id)[0].last_status == 503)
    (delivery,) = deliveries(database, endpoint_id)
    assert delivery.last_attempt_at is not None
    wait = delivery.next_attempt_at - delivery.last_attempt_at
    assert timedelta(seconds=5) <= wait < timedelta(seconds=55)  # 5.5 s and what the attempt took


def test_retry_after_is_heeded(database: Database, receiver: Receiver, happen: Any, wait_until: WaitUntil) -> None:
    endpoint_id, _ = registered(database, receiver.url)
    receiver.behaviour = "429 Retry-After=7200"
    happen(database)
    with delivering(database) as deliverer:
        tick_until(
            deliverer, wait_until, lambda: [d.last_status for d in deliveries(database, endpoint_id)] == [429]
        )
    (delivery,) = deliveries(database, endpoint_id)
    assert delivery.next_attempt_at > utc_now() + timedelta(minutes=100)


@pytest.mark.parametrize("asked", ["\u00b2", "\u00b2\u00b3", "-1", "soon", "9" * 5_000])
def test_a_retry_after_that_is_no_number_is_a_failure_like_any_other(
    database: Database, receiver: Receiver, happen: Any, wait_until: WaitUntil, asked: str
) -> None:
    endpoint_id, _ = registered(database, receiver.url)
    receiver.behaviour = f"503 Retry-After={asked}"
    happen(database)
    with delivering(database, schedule=()) as deliverer:
        tick_until(deliverer, wait_until, lambda: states(database, endpoint_id) == ["GIVEN_UP"])
    assert deliveries(database, endpoint_id)[0].last_status == 503


def test_an_attempt_that_fails_in_an_unforeseen_way_is_settled_too(
    database: Database, receiver: Receiver, happen: Any, wait_until: WaitUntil
) -> None:
    endpoint_id, _ = registered(database, receiver.url)
    with database.write() as session:
        service.require(session, endpoint_id).secret = "whsec_damaged"
    happen(database)
    with delivering(database, schedule=()) as deliverer:
        tick_until(deliverer, wait_until, lambda: states(database, endpoint_id) == ["GIVEN_UP"])
    assert "the attempt failed here" in (deliveries(database, endpoint_id)[0].last_error or "")
    assert receiver.requests == []


@pytest.mark.parametrize("behaviour", ["hang", "drip"])
def test_an_endpoint_that_hangs_is_cut_off_and_holds_up_nobody_else(
    database: Database, receiver: Receiver, happen: Any, wait_until: WaitUntil, behaviour: str
) -> None:
    receiver.behaviour = behaviour
    slow, _ = registered(database, receiver.url)
    with Receiver().running() as other, delivering(database, schedule=()) as deliverer:
        quick, _ = registered(database, other.url)
        happen(database)
        tick_until(deliverer, wait_until, lambda: states(database, quick) == ["DELIVERED"])
        tick_until(deliverer, wait_until, lambda: states(database, slow) == ["GIVEN_UP"])
    assert deliveries(database, slow)[0].last_error == "no answer within 0.5 s"


def test_a_redirect_is_a_failure_and_not_followed(
    database: Database, receiver: Receiver, happen: Any, wait_until: WaitUntil
) -> None:
    with Receiver().running() as inside, delivering(database, schedule=()) as deliverer:
        receiver.behaviour = f"307 Location={inside.url}"
        endpoint_id, _ = registered(database, receiver.url)
        happen(database)
        tick_until(deliverer, wait_until, lambda: states(database, endpoint_id) == ["GIVEN_UP"])
        assert deliveries(database, endpoint_id)[0].last_error == "answered 307 (redirects are not followed)"
        assert inside.requests == []


def test_gone_is_gone(database: Database, receiver: Receiver, happen: Any, wait_until: WaitUntil) -> None:
    receiver.behaviour = "410"
    endpoint_id, _ = registered(database, receiver.url)
    for _ in range(3):
        happen(database)
    with delivering(database) as deliverer:
        tick_until(deliverer, wait_until, lambda: states(database, endpoint_id) == ["GIVEN_UP"] * 3)
        happen(database)
        deliverer.tick()
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_nothing_is_tried_again_where_the_other_side_is_gone(
    make_client: MakeClient, upload: Any, receiver: Receiver, wait_until: WaitUntil, kind: str
) -> None:
    client = make_client(kind=kind, webhook_networks=LOOPBACK)
    receiver.behaviour = "410"
    path = f"/v1/webhooks/{client.post('/v1/webhooks', json={'url': receiver.url}).json()['id']}/deliveries"
    client.post(f"/v1/analysis/{upload(client)}/run")
    wait_until(lambda: [item["state"] for item in client.get(path).json()["items"]] == ["GIVEN_UP"])
    (delivery,) = client.get(path).json()["items"]
    answer = client.post(f"{path}/{delivery['id']}/retry")
    assert (answer.status_code, answer.json()["code"]) == (409, "webhook_ended")
    assert client.get(path).json()["items"][0]["state"] == "GIVEN_UP"


def test_only_what_was_asked_for_is_told(
    database: Database, receiver: Receiver, happen: Any, wait_until: WaitUntil
) -> None:
    endpoint_id, _ = registered(database, receiver.url, "run.failed")
    happen(database)
    happen(database, EventType.EVIDENCE_READ)
    happen(database, EventType.RUN_FAILED, failure_code="run_timeout", secret_of_the_house=1)
    with delivering(database) as deliverer:
        tick_until(deliverer, wait_until, lambda: states(database, endpoint_id) == ["DELIVERED"])
    ((_, body),) = receiver.requests
    assert json.loads(body)["data"].keys() == {"analysis_id", "failure_code"}


def test_a_finished_batch_is_told_without_an_analysis(
    database: Database, receiver: Receiver, wait_until: WaitUntil
) -> None:
    endpoint_id, _ = registered(database, receiver.url, "batch.done")
    with database.write() as session:
        counts = {"batch_id": "b", "done": 2, "failed": 1, "total": 3}
        audit.append(session, EventType.BATCH_FINISHED, actor="ada", analysis_id=None, details=counts)
    with delivering(database) as deliverer:
        tick_until(deliverer, wait_until, lambda: states(database, endpoint_id) == ["DELIVERED"])
    ((_, body),) = receiver.requests
    assert (json.loads(body)["type"], json.loads(body)["data"]) == ("batch.done", counts)


def test_two_processes_tell_of_each_run_once(
    make_url: Any, receiver: Receiver, happen: Any, wait_until: WaitUntil
) -> None:
    url = make_url("postgresql")
    databases = [Database(url), Database(url)]
    endpoint_id, _ = registered(databases[0], receiver.url)
    told = {str(happen(databases[0])) for _ in range(20)}
    with delivering(databases[0]) as one, delivering(databases[1]) as other:

        def both() -> bool:
            one.tick()
            other.tick()
            return states(databases[0], endpoint_id) == ["DELIVERED"] * 20

        wait_until(both)
    for database in databases:
        database.close()
    assert sorted(json.loads(body)["data"]["analysis_id"] for _, body in receiver.requests) == sorted(told)


def test_what_a_dead_process_had_taken_is_taken_again_after_its_lease(database: Database, happen: Any) -> None:
    endpoint_id, _ = registered(database, "https://93.184.216.34/")
    happen(database)
    now = utc_now()
    with database.write() as session:
        service.make_deliveries(session, endpoint_id)
    with database.write() as session:
        first = repository.take_due(session, endpoint_id, now + timedelta(seconds=1), now + timedelta(seconds=60))
        assert first is not None and first.attempts == 1
    with database.write() as session:
        assert repository.take_due(session, endpoint_id, now + timedelta(seconds=59), now) is None
        again = repository.take_due(
            session, endpoint_id, now + timedelta(seconds=61), now + timedelta(seconds=120)
        )
        assert again is not None and (again.id, again.attempts) == (first.id, 2)
    with database.write() as session:  # the first comes back from the dead: its word counts no more
        late = WebhookDelivery(id=first.id, attempts=1)
        ended = {"state": DeliveryState.GIVEN_UP, "next_attempt_at": now, "status": None, "error": "late"}
        assert not repository.settle(session, late, **ended)


def test_a_name_that_turns_inside_after_its_registration_is_not_followed(
    database: Database, receiver: Receiver, happen: Any, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {"hook.test": "127.0.0.1"}
    real = socket.getaddrinfo

    def looked_up(host: str, *more: Any, **options: Any) -> Any:
        return real(answers.get(host, host), *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    endpoint_id, _ = registered(database, receiver.url.replace("127.0.0.1", "hook.test"))
    happen(database)
    with delivering(database, schedule=()) as deliverer:
        tick_until(deliverer, wait_until, lambda: states(database, endpoint_id) == ["DELIVERED"])
        assert receiver.requests[0][0]["host"].startswith("hook.test:")
        answers["hook.test"] = "169.254.169.254"
        happen(database)
        tick_until(deliverer, wait_until, lambda: states(database, endpoint_id)[0] == "GIVEN_UP")
    assert "169.254.169.254, which is not a public address" in (
        deliveries(database, endpoint_id)[0].last_error or ""
    )
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(("host", "trusted"), [("hook.test", True), ("hook.test", False), ("127.0.0.1", True)])
def test_https_is_verified_against_the_name_and_the_system_s_authorities(
    make_url: Any, happen: Any, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch, host: str, trusted: bool
) -> None:
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _host, *more, **options: real("127.0.0.1", *more, **options))
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    database = Database(make_url("sqlite"))
    with Receiver(certificate=CERTIFICATE).running() as receiver, delivering(database, schedule=()) as deliverer:
        url = receiver.url.replace("http://127.0.0.1", f"https://{host}")
        endpoint_id, _ = registered(database, url)
        happen(database)
        good = (host, trusted) == ("hook.test", True)
        expected = "DELIVERED" if good else "GIVEN_UP"
        tick_until(deliverer, wait_until, lambda: states(database, endpoint_id) == [expected])
        assert len(receiver.requests) == good
        assert good or "CERTIFICATE_VERIFY_FAILED" in (deliveries(database, endpoint_id)[0].last_error or "")
    database.close()


def test_ended_deliveries_are_forgotten_after_their_time(
    database: Database, receiver: Receiver, happen: Any, wait_until: WaitUntil
) -> None:
    endpoint_id, _ = registered(database, receiver.url)
    happen(database)
    with delivering(database) as deliverer:
        tick_until(deliverer, wait_until, lambda: states(database, endpoint_id) == ["DELIVERED"])
    with database.write() as session:
        assert repository.forget(session, utc_now() - timedelta(days=30)) == 0
        assert repository.forget(session, utc_now()) == 1
