"""Step B5: the record and the list: pages, filters, an order that new records don't disturb."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from app.analysis import repository as records
from app.analysis.models import Status
from app.database import Database
from earwitness.finding import Verdict

Upload = Callable[..., str]
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOURS = 7


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def seven(request: pytest.FixtureRequest, make_url: Any, new_record: Any, tmp_path_factory: Any) -> Any:
    """A service with seven records, one an hour from noon, numbered in their filenames."""
    from app.application import create_app
    from app.detectors.source import DummySource
    from app.settings import Settings

    url = make_url(request.param)
    database = Database(url)
    with database.write() as session:
        for hour in range(HOURS):
            failed = hour == 5
            records.add(
                session,
                new_record(
                    created_at=NOON + timedelta(hours=hour),
                    filename=f"{hour}.wav",
                    sha256=f"{hour:064x}",
                    verdict=Verdict.DEEPFAKE if hour % 2 else Verdict.AUTHENTIC,
                    status=Status.FAILED if failed else Status.DONE,
                    failure_code="worker_crash" if failed else None,
                ),
            )
    database.close()
    evidence = tmp_path_factory.mktemp("evidence")
    (evidence / "store-id").write_text("lost")  # else a service does not start
    settings = Settings(database_url=url, evidence_dir=evidence)
    with TestClient(create_app(settings, detector=DummySource())) as client:
        yield client


def names(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["filename"].removesuffix(".wav") for item in answer.json()["items"]]


def test_the_list_is_newest_first_and_counts_all(seven: TestClient) -> None:
    answer = seven.get("/v1/analysis", params={"limit": 3})
    assert names(answer) == ["6", "5", "4"]
    assert {key: answer.json()[key] for key in ("total", "limit", "offset")} == {
        "total": 7,
        "limit": 3,
        "offset": 0,
    }


def test_pages_cover_everything_once(seven: TestClient) -> None:
    found = [n for offset in range(0, 9, 3) for n in names(seven.get(f"/v1/analysis?limit=3&offset={offset}"))]
    assert found == [str(n) for n in reversed(range(HOURS))]


def test_a_page_beyond_the_end_is_empty(seven: TestClient) -> None:
    answer = seven.get("/v1/analysis?offset=100")
    assert (names(answer), answer.json()["total"]) == ([], 7)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("verdict=DEEPFAKE", "531"),
        ("status=FAILED", "5"),
        ("status=UPLOADED", ""),
        (f"sha256={3:064x}", "3"),
        ("filename=4.wav", "4"),
        ("filename=4", ""),
        (f"created_after={quote((NOON + timedelta(hours=5)).isoformat())}", "65"),
        (f"created_before={quote((NOON + timedelta(hours=2)).isoformat())}", "10"),
        ("created_after=2026-11-22T14:00:00%2B01:00&created_before=2026-11-22T14:00:00Z", "1"),
        ("verdict=AUTHENTIC&limit=1&offset=1", "4"),
    ],
)
def test_filters(seven: TestClient, query: str, expected: str) -> None:
    assert names(seven.get(f"/v1/analysis?{query}")) == list(expected)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=x",
        "offset=-1",
        "offset=99999999999999999999",
        "verdict=MAYBE",
        "status=done",
        "sha256=abc",
        "filename=",
        "filename=%00",
        "created_after=yesterday",
        "created_after=0.5",
        "created_after=2026-11-22T12:00:00",
        "colour=red",
    ],
)
def test_a_wrong_parameter_is_422_and_named(seven: TestClient, query: str) -> None:
    answer = seven.get(f"/v1/analysis?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert query.split("=", maxsplit=1)[0] in answer.json()["detail"]


@pytest.mark.parametrize(
    ("query", "total"),
    [
        ("created_after=0001-01-01T00:00:00%2B14:00", 7),
        ("created_after=0188-07-31T21:34:02-15:15", 7),
        ("created_before=9999-12-31T23:59:59-14:00", 7),
        ("created_after=9999-12-31T23:59:59-14:00", 0),
        ("created_before=1969-12-31T23:59:59Z", 0),
    ],
)
def test_times_beyond_what_a_database_holds_mean_what_they_say(seven: TestClient, query: str, total: int) -> None:
    assert seven.get(f"/v1/analysis?{query}").json()["total"] == total


def test_following_the_next_links_is_not_disturbed_by_new_records(client: TestClient, upload: Upload) -> None:
    before = [upload(client) for _ in range(5)]
    answer = client.get("/v1/analysis?limit=2")
    seen = [item["id"] for item in answer.json()["items"]]
    for _ in range(2):
        upload(client)
        link = answer.headers["link"]
        assert link.endswith('>; rel="next"')
        answer = client.get(link[1 : link.index(">")])
        seen += [item["id"] for item in answer.json()["items"]]
    assert seen[:5] == before[::-1]


@pytest.mark.parametrize("offset", [1, 2, 3, 5])
def test_the_next_links_lead_from_any_page_to_the_end(client: TestClient, upload: Upload, offset: int) -> None:
    name = f"from-{offset}.wav"
    before = [upload(client, name) for _ in range(7)][::-1]
    answer = client.get(f"/v1/analysis?limit=2&offset={offset}&filename={name}")
    seen = [item["id"] for item in answer.json()["items"]]
    while "link" in answer.headers:
        upload(client, name)  # which shifts nothing
        answer = client.get(answer.headers["link"].partition(">")[0][1:])
        seen += [item["id"] for item in answer.json()["items"]]
    assert seen == before[offset:]


def test_the_last_page_has_no_next_link(seven: TestClient) -> None:
    assert "link" not in seven.get("/v1/analysis?limit=200").headers


def test_the_record_holds_every_column_of_the_guide(client: TestClient, upload: Upload) -> None:
    record = client.get(f"/v1/analysis/{upload(client)}").json()
    assert record.keys() >= {
        "id", "created_at", "media_type", "filename", "sha256", "duration_s", "verdict", "confidence",
        "explanations", "signals", "model_version", "processing_ms",
    }  # fmt: skip
    assert datetime.fromisoformat(record["created_at"]).utcoffset() == timedelta(0)
