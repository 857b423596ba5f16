"""Bulk: many recordings examined through the queue, each once, whatever is wrong with one or is killed in between."""

import csv
import errno
import io
import json
import os
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, text
from structlog.testing import capture_logs

from app.audit.models import AuditEvent, EventType
from app.batches import feeder, imports, service
from app.batches.schemas import BatchRequest
from app.detectors.source import DummySource
from app.identity.user import Role, User
from earwitness.dummy import DummyDetector

MakeClient = Callable[..., TestClient]
MakeWav = Callable[..., bytes]
Upload = Callable[..., str]
WaitUntil = Callable[[Callable[[], bool]], None]


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeder, "ACTIVE_S", 0.02)
    monkeypatch.setattr(feeder, "TROUBLE_S", 0.2)
    monkeypatch.setattr(feeder, "QUOTA_S", 0.2)


def made(client: Any, **wanted: Any) -> dict[str, Any]:
    answer = client.post("/v1/batches", json=wanted)
    assert answer.status_code == 202, answer.text
    batch: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/v1/batches/{batch['id']}"
    return batch


def finished(client: Any, batch: dict[str, Any], wait_until: WaitUntil) -> dict[str, Any]:
    def now() -> dict[str, Any]:
        view: dict[str, Any] = client.get(f"/v1/batches/{batch['id']}").json()
        return view

    wait_until(lambda: now()["finished_at"] is not None)
    return now()


def rows(client: Any, batch: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in client.get(f"/v1/batches/{batch['id']}/results").text.splitlines()]


@pytest.fixture
def import_dir(tmp_path: Path, make_wav: MakeWav) -> Path:
    folder = tmp_path / "import"
    (folder / "calls").mkdir(parents=True)
    for number in range(3):
        (folder / "calls" / f"{number:02}.wav").write_bytes(make_wav(tone_hz=300.0 + number))
    return folder


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_batch_of_analyses_ends_with_a_row_for_each_in_every_format(
    make_client: MakeClient, upload: Upload, wait_until: WaitUntil, tmp_path: Path, kind: str
) -> None:
    client = make_client(kind=kind, workers=2, batch_ahead=3)
    ids = [upload(client, f"clip-{n}.wav") for n in range(7)]
    view = finished(client, made(client, name="seven", analysis_ids=[*ids, ids[0]]), wait_until)
    assert (view["status"], view["total"], view["done"], view["failed"]) == ("DONE", 7, 7, 0)
    assert view["duplicates"] == 1
    found = rows(client, view)
    assert [row["analysis_id"] for row in found] == ids
    assert {(row["state"], row["verdict"], row["p_fake"], row["model_version"]) for row in found} == {
        ("DONE", "SUSPICIOUS", 0.5, "dummy-1")
    }
    assert [client.get(f"/v1/analysis/{one}").json()["run_id"] for one in ids] == [row["run_id"] for row in found]

    table = client.get(f"/v1/batches/{view['id']}/results", headers={"Accept": "text/csv"})
    assert table.headers["content-type"].startswith("text/csv")
    read = list(csv.DictReader(io.StringIO(table.text)))
    assert [(row["filename"], row["p_fake"]) for row in read] == [(f"clip-{n}.wav", "0.5") for n in range(7)]

    kept = client.get(f"/v1/batches/{view['id']}/results", headers={"Accept": "application/vnd.apache.parquet"})
    (tmp_path / "r.parquet").write_bytes(kept.content)
    with duckdb.connect() as connection:
        query = f"SELECT position, analysis_id, llr FROM '{tmp_path / 'r.parquet'}'"
        assert connection.execute(query).fetchall() == [
            (row["position"], row["analysis_id"], row["llr"]) for row in found
        ]
    assert client.get("/v1/batches").json()["items"][0] == view
    assert client.get("/v1/audit/chain").json()["intact"] is True


def test_names_that_a_spreadsheet_would_reckon_stand_behind_an_apostrophe(
    make_client: MakeClient, upload: Upload, wait_until: WaitUntil, tmp_path: Path
) -> None:
    client = make_client()
    names = ["=1+1.wav", "@sum.wav", "-a.wav", "a=b.wav"]
    view = finished(client, made(client, analysis_ids=[upload(client, name) for name in names]), wait_until)

    table = client.get(f"/v1/batches/{view['id']}/results", headers={"Accept": "text/csv"}).text
    assert [row["filename"] for row in csv.DictReader(io.StringIO(table))] == [
        "'=1+1.wav", "'@sum.wav", "'-a.wav", "a=b.wav",
    ]  # fmt: skip
    assert [row["filename"] for row in rows(client, view)] == names
    kept = client.get(f"/v1/batches/{view['id']}/results", headers={"Accept": "application/vnd.apache.parquet"})
    (tmp_path / "r.parquet").write_bytes(kept.content)
    with duckdb.connect() as connection:
        read = connection.execute(f"SELECT filename FROM '{tmp_path / 'r.parquet'}'").fetchall()
    assert [name for (name,) in read] == names


def test_a_pipe_in_the_import_folder_is_refused_and_nothing_waits_for_it(
    make_client: MakeClient, upload: Upload, wait_until: WaitUntil, import_dir: Path
) -> None:
    os.mkfifo(import_dir / "list.txt")
    os.mkfifo(import_dir / "pipe.wav")
    client = make_client(import_dir=import_dir)
    pipe = made(client, import_path="list.txt")
    other = finished(client, made(client, analysis_ids=[upload(client)]), wait_until)
    assert other["done"] == 1
    assert finished(client, pipe, wait_until)["status"] == "FAILED"
    with pytest.raises(OSError, match="no regular file"):
        imports.opened(import_dir / "pipe.wav")


def test_nobody_learns_from_the_import_folder_what_else_is_there(
    make_client: MakeClient, import_dir: Path
) -> None:
    client = make_client(import_dir=import_dir)
    answers = [
        client.post("/v1/batches", json={"import_path": name})
        for name in ("/etc/passwd", "/etc/nothing", "../none")
    ]
    assert {answer.json()["code"] for answer in answers} == {"import_path"}
    details = {
        answer.json()["detail"].replace(repr(name), "")
        for answer, name in zip(answers, ("/etc/passwd", "/etc/nothing", "../none"), strict=True)
    }
    assert len(details) == 1


def test_what_is_wrong_with_one_item_costs_that_item(
    make_client: MakeClient, upload: Upload, wait_until: WaitUntil
) -> None:
    client = make_client()
    erased, unknown = upload(client), str(uuid.uuid4())
    client.delete(f"/v1/analysis/{erased}/evidence", params={"reason": "asked for"})
    ids = [upload(client), unknown, upload(client, "exit-1.wav"), erased, upload(client, "raise_input-1.wav")]
    view = finished(client, made(client, analysis_ids=ids), wait_until)
    assert (view["done"], view["failed"]) == (1, 4)
    codes = [row["failure_code"] for row in rows(client, view)]
    assert codes == [None, "analysis_not_found", "worker_crash", "evidence_erased", "media_unreadable"]


def test_a_folder_is_taken_in_as_evidence_and_examined(
    make_client: MakeClient, wait_until: WaitUntil, import_dir: Path
) -> None:
    client = make_client(import_dir=import_dir)
    view = finished(client, made(client, import_path="calls"), wait_until)
    found = rows(client, view)
    assert [(row["path"], row["state"]) for row in found] == [(f"calls/{n:02}.wav", "DONE") for n in range(3)]
    for row in found:
        evidence = client.get(f"/v1/analysis/{row['analysis_id']}/evidence").content
        assert evidence == (import_dir / row["path"]).read_bytes()
    record = client.get(f"/v1/analysis/{found[0]['analysis_id']}").json()
    assert (record["filename"], record["source"]) == ("00.wav", "import: calls/00.wav")


def test_a_list_is_gone_through_with_a_code_for_each_file_that_can_t_be_taken(
    make_client: MakeClient, wait_until: WaitUntil, import_dir: Path, tmp_path: Path, wav: bytes
) -> None:
    (tmp_path / "outside.wav").write_bytes(wav)
    (import_dir / "link.wav").symlink_to(tmp_path / "outside.wav")
    (import_dir / "text.wav").write_text("no sound")
    (import_dir / "note.pdf").write_bytes(b"%PDF")
    (import_dir / "empty.wav").touch()
    names = ["calls/00.wav", "none.wav", "../outside.wav", "link.wav", str(tmp_path / "outside.wav"), "text.wav"]
    names += ["note.pdf", "empty.wav", "calls/00.wav"]
    (import_dir / "list.csv").write_text("path,label\n" + "".join(f"{name},x\n" for name in names))
    client = make_client(import_dir=import_dir)
    view = finished(client, made(client, import_path="list.csv"), wait_until)
    assert (view["total"], view["duplicates"], view["done"], view["failed"]) == (8, 1, 1, 7)
    assert [row["failure_code"] for row in rows(client, view)] == [
        None, "import_path", "import_path", "import_path", "import_path", "unsupported_media", "unsupported_media",
        "media_empty",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["..", "/etc", "calls/../..", "none", "out", "a\u0000b"])
def test_a_path_that_is_not_in_the_import_folder_is_refused(
    make_client: MakeClient, import_dir: Path, tmp_path: Path, name: str
) -> None:
    (import_dir / "out").symlink_to(tmp_path)
    answer = make_client(import_dir=import_dir).post("/v1/batches", json={"import_path": name})
    assert answer.status_code == 422 and answer.json()["code"] in ("import_path", "invalid_request")
    assert str(tmp_path) not in answer.text


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"import_path": "calls"}, "imports_off"),
        ({}, "invalid_request"),
        ({"analysis_ids": []}, "invalid_request"),
        ({"analysis_ids": ["x"]}, "invalid_request"),
        ({"analysis_ids": [str(uuid.uuid4())], "import_path": "calls"}, "invalid_request"),
        ({"analysis_ids": [str(uuid.uuid4())], "prority": 1}, "invalid_request"),
        ({"analysis_ids": [str(uuid.uuid4())], "model_version": "newest"}, "model_unknown"),
    ],
)
def test_a_request_that_makes_no_batch_is_422(client: TestClient, body: dict[str, Any], code: str) -> None:
    answer = client.post("/v1/batches", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_an_unknown_batch_is_404_and_another_format_406(client: TestClient, upload: Upload) -> None:
    path = f"/v1/batches/{uuid.uuid4()}"
    for answer in (client.get(path), client.post(f"{path}/cancel"), client.get(f"{path}/results")):
        assert (answer.status_code, answer.json()["code"]) == (404, "batch_not_found")
    batch = made(client, analysis_ids=[upload(client)])
    answer = client.get(f"/v1/batches/{batch['id']}/results", headers={"Accept": "image/png"})
    assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")


def test_a_list_that_is_none_fails_the_batch_with_its_reason(
    make_client: MakeClient, wait_until: WaitUntil, import_dir: Path
) -> None:
    named = Path(os.fsdecode(os.fsencode(import_dir) + b"/l\xefst.csv"))
    named.write_text("name\na.wav\n")
    (import_dir / "list.csv").symlink_to(named)
    client = make_client(import_dir=import_dir)
    view = finished(client, made(client, import_path="list.csv"), wait_until)
    assert (view["status"], view["failure_code"]) == ("FAILED", "media_unreadable")
    assert "l\\xefst.csv has no column" in view["failure_message"]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_name_that_is_no_text_costs_that_file(
    make_client: MakeClient, wait_until: WaitUntil, import_dir: Path, wav: bytes, kind: str
) -> None:
    Path(os.fsdecode(os.fsencode(import_dir / "calls") + b"/caf\xe9.wav")).write_bytes(wav)
    (import_dir / "calls" / "list.txt").write_text("01.wav\na\0b.wav\n")
    client = make_client(kind=kind, import_dir=import_dir)
    view, listed = (made(client, import_path=path) for path in ("calls", "calls/list.txt"))
    view, listed = (finished(client, batch, wait_until) for batch in (view, listed))
    assert (view["status"], view["total"], view["done"], view["failed"]) == ("DONE", 4, 3, 1)
    found = {row["path"]: row for row in rows(client, view)}
    assert found["calls/00.wav"]["state"] == "DONE"
    bad = found["calls/caf\\xe9.wav"]
    assert (bad["state"], bad["failure_code"], bad["analysis_id"]) == ("FAILED", "import_path", None)
    assert "rename it" in bad["failure_message"]
    assert (listed["done"], listed["failed"]) == (1, 1)
    assert rows(client, listed)[1]["path"] == "calls/a\\x00b.wav"


def test_a_file_that_its_disk_does_not_give_costs_that_file(
    make_client: MakeClient, wait_until: WaitUntil, import_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def failing(path: Any, *args: Any, **kwargs: Any) -> int:
        if Path(os.fsdecode(path)).name == "01.wav":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", failing)
    client = make_client(import_dir=import_dir)
    view = finished(client, made(client, import_path="calls"), wait_until)
    assert (view["done"], view["failed"]) == (2, 1)
    bad = rows(client, view)[1]
    assert (bad["failure_code"], bad["failure_message"]) == (
        "import_path", "'calls/01.wav' can't be read: Input/output error",
    )  # fmt: skip


def test_a_folder_that_can_t_be_read_fails_its_batch_and_no_other(
    make_client: MakeClient, wait_until: WaitUntil, import_dir: Path, tmp_path: Path
) -> None:
    (import_dir / "deep").mkdir()
    at = os.open(import_dir / "deep", os.O_RDONLY)
    for _ in range(20):  # a path of more than 4,096 bytes: an error for everybody, root included
        os.mkdir("d" * 250, dir_fd=at)
        at, above = os.open("d" * 250, os.O_RDONLY, dir_fd=at), at
        os.close(above)
    os.close(at)
    client = make_client(import_dir=import_dir)
    deep, calls = made(client, import_path="deep"), made(client, import_path="calls")
    assert finished(client, calls, wait_until)["done"] == 3
    view = finished(client, deep, wait_until)
    assert (view["status"], view["failure_code"], view["total"]) == ("FAILED", "import_path", 0)
    assert view["failure_message"].startswith("'deep/ddd") and "File name too long" in view["failure_message"]
    assert str(tmp_path) not in json.dumps(view)


def test_what_nobody_foresaw_fails_a_list_after_a_few_tries_and_holds_up_no_other_batch(
    make_client: MakeClient, upload: Upload, wait_until: WaitUntil, import_dir: Path
) -> None:
    client = make_client(import_dir=import_dir)
    with client.app.state.service.database.write() as session:  # type: ignore[attr-defined]
        for table, condition in (("batch_items", "NEW.path = 'calls/02.wav'"), ("batches", "NEW.name = 'bad'")):
            event = "INSERT" if table == "batch_items" else "UPDATE"
            session.execute(
                text(
                    f"CREATE TRIGGER fail_{table} BEFORE {event} ON {table} WHEN {condition} "
                    "BEGIN SELECT RAISE(ABORT, 'nobody foresaw this'); END"
                )
            )
    stuck = made(client, name="bad", analysis_ids=[upload(client)])
    calls = made(client, import_path="calls")
    assert finished(client, made(client, analysis_ids=[upload(client)]), wait_until)["done"] == 1
    view = finished(client, calls, wait_until)
    assert (view["status"], view["failure_code"]) == ("FAILED", "internal")
    assert client.get(f"/v1/batches/{stuck['id']}").json()["status"] == "RUNNING"
    with client.app.state.service.database.write() as session:  # type: ignore[attr-defined]
        session.execute(text("DROP TRIGGER fail_batches"))
    assert finished(client, stuck, wait_until)["done"] == 1


def test_a_quota_that_is_used_up_holds_up_its_user_s_batch_and_no_other(
    make_client: MakeClient, make_url: Any, upload: Upload, wait_until: WaitUntil, tmp_path: Path
) -> None:
    same: dict[str, Any] = {"database_url": make_url("sqlite"), "evidence_dir": tmp_path / "store"}
    client = make_client(runs_per_hour=2, shutdown_grace=timedelta(seconds=0.2), **same)
    ids = [upload(client), upload(client, "hang-1.wav")]
    batch = made(client, analysis_ids=ids)
    wait_until(lambda: client.get(f"/v1/analysis/{ids[1]}").json()["status"] == "RUNNING")
    client.__exit__(None, None, None)  # the second run is interrupted, and its user may not ask for another

    client = make_client(detector=DummySource(), runs_per_hour=2, **same)
    bob = {"X-User": "bob", "X-Role": "analyst"}
    his = client.post("/v1/batches", json={"analysis_ids": [upload(client)]}, headers=bob).json()
    assert finished(client, his, wait_until)["done"] == 1
    view = client.get(f"/v1/batches/{batch['id']}").json()
    assert (view["status"], view["done"], view["failed"]) == ("RUNNING", 1, 0), (
        "what ended is settled all the same"
    )
    with client.app.state.service.database.write() as session:  # type: ignore[attr-defined]
        session.execute(text("DELETE FROM allowances"))
    assert finished(client, batch, wait_until)["done"] == 2


@pytest.mark.parametrize("used_up", ["runs_per_hour", "upload_bytes_per_day"])
def test_what_waits_for_a_quota_is_not_taken_in_and_not_asked_for_again_before_its_time(
    make_client: MakeClient,
    upload: Upload,
    wait_until: WaitUntil,
    import_dir: Path,
    wav: bytes,
    monkeypatch: pytest.MonkeyPatch,
    used_up: str,
) -> None:
    monkeypatch.setattr(feeder, "QUOTA_S", 3_600.0)
    (import_dir / "late").mkdir()
    (import_dir / "late" / "a.wav").write_bytes(b"no sound" * 1_000)  # to look at it would fail the item
    client = make_client(import_dir=import_dir, **{used_up: 1 if used_up == "runs_per_hour" else len(wav)})
    bob = {"X-User": "bob", "X-Role": "analyst"}
    client.post(f"/v1/analysis/{upload(client)}/run")
    with capture_logs() as logs:
        late = made(client, import_path="late")
        wait_until(lambda: any(line["event"] == "batch_waits_for_quota" for line in logs))
        his = client.post("/v1/analysis/upload", files={"file": ("b.wav", wav)}, headers=bob).json()["analysis_id"]
        batch = client.post("/v1/batches", json={"analysis_ids": [his]}, headers=bob).json()
        assert finished(client, batch, wait_until)["done"] == 1
    assert [line["event"] for line in logs].count("batch_waits_for_quota") == 1
    view = client.get(f"/v1/batches/{late['id']}").json()
    assert (view["status"], view["entered"], view["failed"]) == ("RUNNING", 0, 0)
    assert client.get("/v1/analysis").json()["total"] == 2


def test_a_file_that_was_taken_in_is_not_read_again_while_its_run_waits(
    make_client: MakeClient, upload: Upload, wait_until: WaitUntil, import_dir: Path
) -> None:
    client = make_client(kind="postgresql", workers=0, import_dir=import_dir, max_queued_runs=1)
    client.post(f"/v1/analysis/{upload(client)}/run", headers={"Prefer": "respond-async"})  # the queue is full
    batch = made(client, import_path="calls/00.wav")
    wait_until(lambda: [row["analysis_id"] for row in rows(client, batch)] not in ([], [None]))
    assert rows(client, batch)[0]["state"] == "WAITING"
    (import_dir / "calls" / "00.wav").unlink()
    with client.app.state.service.database.write() as session:  # type: ignore[attr-defined]
        session.execute(text("DELETE FROM procrastinate_jobs"))
    wait_until(lambda: bool(rows(client, batch)[0]["state"] == "ENTERED"))


def test_the_same_key_gives_the_same_batch(client: TestClient, upload: Upload, wait_until: WaitUntil) -> None:
    ids, headers = [upload(client)], {"Idempotency-Key": uuid.uuid4().hex}
    answers = [client.post("/v1/batches", json={"analysis_ids": ids}, headers=headers) for _ in range(2)]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert answers[1].headers["idempotency-replayed"] == "true"
    other = client.post("/v1/batches", json={"analysis_ids": [str(uuid.uuid4())]}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key")
    finished(client, answers[0].json(), wait_until)
    assert len(client.get(f"/v1/analysis/{ids[0]}/runs").json()["items"]) == 1


def test_the_same_key_twice_at_once_gives_the_same_batch(
    make_client: MakeClient, upload: Upload, wait_until: WaitUntil, somebody_waits: Callable[[Any], bool]
) -> None:
    client = make_client(kind="postgresql")
    database = client.app.state.service.database  # type: ignore[attr-defined]
    ids, key = [upload(client)], uuid.uuid4().hex

    def ask() -> Any:
        return client.post("/v1/batches", json={"analysis_ids": ids}, headers={"Idempotency-Key": key})

    with ThreadPoolExecutor(1) as threads:
        with database.write() as session:
            user = User("developer", Role.ADMIN)
            first, _ = service.create(session, user, BatchRequest(analysis_ids=[uuid.UUID(ids[0])]), key)
            second = threads.submit(ask)
            wait_until(lambda: somebody_waits(database))
        answer = second.result(60)
    assert (answer.status_code, answer.json()["id"]) == (202, str(first.id))
    assert answer.headers["idempotency-replayed"] == "true"
    assert client.get("/v1/batches").json()["total"] == 1


def test_a_cancelled_batch_begins_nothing_more_and_keeps_what_it_has(
    make_client: MakeClient, upload: Upload, wait_until: WaitUntil
) -> None:
    client = make_client(detector=DummySource(DummyDetector(delay_s=0.2)), batch_ahead=2)
    ids = [upload(client) for _ in range(12)]
    batch = made(client, analysis_ids=ids)
    wait_until(lambda: client.get(f"/v1/batches/{batch['id']}").json()["done"] >= 1)
    assert client.post(f"/v1/batches/{batch['id']}/cancel").json()["status"] == "CANCELLED"
    view = finished(client, batch, wait_until)
    states = [row["state"] for row in rows(client, view)]
    assert states == ["DONE"] * view["done"] + ["CANCELLED"] * (12 - view["done"])
    assert 1 <= view["done"] < 12
    assert client.get(f"/v1/analysis/{ids[-1]}").json()["status"] == "UPLOADED"
    assert ends(client) == [(view["id"], view["done"], view["failed"], 12)]


def ends(client: Any) -> list[tuple[Any, ...]]:
    """What webhooks tell of: an event a batch that ended."""
    with client.app.state.service.database.read() as session:
        found = session.scalars(select(AuditEvent).where(AuditEvent.event_type == EventType.BATCH_FINISHED))
        return [tuple(event.details[name] for name in ("batch_id", "done", "failed", "total")) for event in found]


def test_a_batch_that_is_cancelled_before_it_began_ends_with_one_event_too(
    make_client: MakeClient, upload: Upload
) -> None:
    client = make_client(runs_per_hour=1)
    analysis_id = upload(client)
    client.post(f"/v1/analysis/{analysis_id}/run")  # there is no room for another
    batch = made(client, analysis_ids=[analysis_id])
    for _ in range(2):
        view = client.post(f"/v1/batches/{batch['id']}/cancel").json()
        assert view["finished_at"] is not None
    assert ends(client) == [(batch["id"], 0, 0, 1)]


def test_a_batch_takes_little_room_in_the_queue(
    make_client: MakeClient, upload: Upload, wait_until: WaitUntil
) -> None:
    client = make_client(detector=DummySource(DummyDetector(delay_s=0.05)), batch_ahead=3, max_queued_runs=5)
    ids = [upload(client) for _ in range(20)]
    batch = made(client, analysis_ids=ids[1:])
    queue = client.app.state.service.queue  # type: ignore[attr-defined]
    depths: list[int] = []

    def enough() -> bool:
        depths.append(queue.depth())
        return len(depths) > 20

    wait_until(enough)
    assert max(depths) <= 3
    assert client.post(f"/v1/analysis/{ids[0]}/run").status_code == 200, "there is room for others"
    assert finished(client, batch, wait_until)["done"] == 19


def test_killed_in_the_middle_it_goes_on_and_examines_each_once(
    tmp_path: Path, make_service: Callable[..., Any], import_dir: Path, make_wav: MakeWav, wait_until: WaitUntil
) -> None:
    for number in range(3, 24):
        (import_dir / "calls" / f"{number:02}.wav").write_bytes(make_wav(tone_hz=300.0 + number))
    service = make_service(tmp_path, EARWITNESS_IMPORT_DIR=str(import_dir), EARWITNESS_BATCH_AHEAD="4").start()
    with service.client() as client:
        batch = made(client, import_path="calls")
    for least in (3, 8, 13):
        with service.client() as client:
            end = time.monotonic() + 60
            while client.get(f"/v1/batches/{batch['id']}").json()["done"] < least:
                assert time.monotonic() < end
                time.sleep(0.01)
        service.kill()
        service.start()
    with service.client() as client:
        view = finished(client, batch, wait_until)
        assert (view["status"], view["total"], view["done"]) == ("DONE", 24, 24)
        records = service.records()
        assert sorted(record["source"] for record in records) == [f"import: calls/{n:02}.wav" for n in range(24)]
        outcomes = [
            [run["outcome"] for run in client.get(f"/v1/analysis/{record['id']}/runs").json()["items"]]
            for record in records
        ]
    assert [of_one.count("DONE") for of_one in outcomes] == [1] * 24
