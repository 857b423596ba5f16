"""Step B4: a restart finishes or fails what was under way. Nothing stays RUNNING, nothing half-written survives."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.analysis import repository as records
from app.analysis.models import Status
from app.application import CantStartError
from app.database import Database

MakeClient = Callable[..., TestClient]
KINDS = ["sqlite", "postgresql"]


@pytest.fixture
def left_behind(make_client: MakeClient, make_url: Any, tmp_path: Path, upload: Any) -> Any:
    """`left_behind(kind, status)`: data as a dead process left it, with one record in `status`."""

    def leave(kind: str, status: Status) -> tuple[dict[str, Any], str]:
        place = {"database_url": make_url(kind), "evidence_dir": tmp_path / "store"}
        client = make_client(**place)
        analysis_id = upload(client)
        client.__exit__(None, None, None)
        database = Database(place["database_url"])
        with database.write() as session:
            run_id = uuid.uuid4()
            assert records.claim_for_run(session, uuid.UUID(analysis_id), run_id, "ada")
            if status is Status.RUNNING:
                assert records.mark_running(session, uuid.UUID(analysis_id), run_id)
        database.close()
        return place, analysis_id

    return leave


def test_what_was_running_is_failed_as_interrupted(left_behind: Any, make_client: MakeClient) -> None:
    place, analysis_id = left_behind("sqlite", Status.RUNNING)
    client = make_client(**place)
    record = client.get(f"/v1/analysis/{analysis_id}").json()
    assert (record["status"], record["failure_code"]) == ("FAILED", "interrupted")
    (run,) = client.get(f"/v1/analysis/{analysis_id}/runs").json()["items"]
    assert (run["outcome"], run["failure_code"], run["requested_by"]) == ("FAILED", "interrupted", "ada")
    assert run["method"] is None and run["model_version"] is None  # whatever the dead process worked with
    assert client.post(f"/v1/analysis/{analysis_id}/run").status_code == 200


def test_what_was_running_without_a_job_is_done_by_another_worker(
    left_behind: Any, make_client: MakeClient, wait_until: Callable[..., None]
) -> None:
    """On PostgreSQL others may be at work: no start fails their runs, and what nobody has any more is entered again."""
    place, analysis_id = left_behind("postgresql", Status.RUNNING)
    client = make_client(**place)
    wait_until(lambda: client.get(f"/v1/analysis/{analysis_id}").json()["status"] == "DONE")
    (run,) = client.get(f"/v1/analysis/{analysis_id}/runs").json()["items"]
    assert (run["outcome"], run["requested_by"]) == ("DONE", "ada")
    assert run["model_version"] is not None


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_queued_is_done(
    left_behind: Any, make_client: MakeClient, wait_until: Callable[..., None], kind: str
) -> None:
    place, analysis_id = left_behind(kind, Status.QUEUED)
    client = make_client(**place)
    wait_until(lambda: client.get(f"/v1/analysis/{analysis_id}").json()["status"] == "DONE")


def test_partial_files_are_removed_and_orphan_blobs_set_aside(
    left_behind: Any, make_client: MakeClient, tmp_path: Path
) -> None:
    place, analysis_id = left_behind("sqlite", Status.QUEUED)
    (tmp_path / "store" / "tmp" / "dead.part").write_bytes(b"half")
    orphan = tmp_path / "store" / "blobs" / "ff" / "ff" / ("f" * 64)
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"no row names me")
    client = make_client(**place)
    assert not orphan.exists() and not list((tmp_path / "store" / "tmp").iterdir())
    assert (tmp_path / "store" / "unreferenced" / orphan.name).read_bytes() == b"no row names me"
    assert client.get(f"/v1/analysis/{analysis_id}/evidence").status_code == 200


def test_started_on_another_database_by_mistake_no_evidence_is_lost(
    left_behind: Any, make_client: MakeClient, make_url: Any, wav: bytes
) -> None:
    place, analysis_id = left_behind("sqlite", Status.QUEUED)
    mistaken = make_client(**{**place, "database_url": make_url("sqlite")})
    assert mistaken.get("/v1/analysis").json()["total"] == 0
    mistaken.__exit__(None, None, None)
    (aside,) = (place["evidence_dir"] / "unreferenced").iterdir()
    assert aside.read_bytes() == wav
    again = make_client(**place)
    assert again.get(f"/v1/analysis/{analysis_id}/evidence").content == wav


def test_a_second_service_on_the_same_evidence_does_not_start(make_client: MakeClient, tmp_path: Path) -> None:
    make_client(evidence_dir=tmp_path / "store")
    with pytest.raises(CantStartError, match="another service"):
        make_client(evidence_dir=tmp_path / "store")
