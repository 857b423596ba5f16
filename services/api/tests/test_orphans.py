"""Operations: what a killed process left in the store is found, and removed on an operator's word; never evidence."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.evidence.objects import Place
from app.evidence.store import EvidenceStore
from app.orm import utc_now
from app.retention import orphans as module
from app.retention.orphans import SAFE_AGE, Orphans, orphans
from app.state import ServiceState

MakeClient = Callable[..., TestClient]
Upload = Callable[..., str]
LEFT = b"stored, and then the process was killed before its commit"
LATER = timedelta(hours=1)


@pytest.fixture(params=["folder", "objects"])
def client(request: pytest.FixtureRequest, make_client: MakeClient) -> TestClient:
    if request.param == "folder":
        return make_client()
    bucket: Place = request.getfixturevalue("bucket")
    return make_client(
        evidence_url=bucket.url,
        evidence_endpoint=bucket.endpoint,
        evidence_access_key=bucket.access_key_id,
        evidence_secret_key=bucket.secret_access_key,
    )


@pytest.fixture
def state(client: TestClient) -> ServiceState:
    found = client.app.state.service  # type: ignore[attr-defined]
    assert isinstance(found, ServiceState)
    return found


def left_behind(store: EvidenceStore) -> str:
    """What a process leaves that is killed after it has stored an upload; its hash."""
    with store.receive() as incoming:
        incoming.write(LEFT)
        received = incoming.finish()
        store.publish(incoming)
    return received.sha256


def hashes(store: EvidenceStore) -> set[str]:
    return {stored.sha256 for stored in store.stored()}


def test_orphans_are_told_of_and_removed_only_where_that_is_said(
    client: TestClient, state: ServiceState, upload: Upload, wav: bytes
) -> None:
    analysis_id = upload(client)
    orphan, evidence = left_behind(state.store), hashlib.sha256(wav).hexdigest()
    later = utc_now() + SAFE_AGE + LATER
    assert orphans(state.database, state.store, later) == Orphans(1, 1, len(LEFT), 0, 0, refused=False)
    assert hashes(state.store) == {orphan, evidence}
    assert orphans(state.database, state.store, later, remove=True).removed == 1
    assert hashes(state.store) == {evidence}
    assert client.get(f"/v1/analysis/{analysis_id}/evidence").content == wav
    assert orphans(state.database, state.store, later, remove=True) == Orphans(1, 0, 0, 0, 0, refused=False)
    assert client.get("/v1/audit/chain").json()["intact"] is True


def test_what_is_young_may_be_an_upload_under_way(state: ServiceState) -> None:
    orphan = left_behind(state.store)
    soon = utc_now() + SAFE_AGE - LATER
    assert orphans(state.database, state.store, soon, remove=True) == Orphans(0, 0, 0, 0, 0, refused=False)
    assert hashes(state.store) == {orphan}


def test_where_most_has_no_record_the_database_may_be_the_wrong_one(
    state: ServiceState, client: TestClient, upload: Upload
) -> None:
    orphan = left_behind(state.store)
    later = utc_now() + SAFE_AGE + LATER
    found = orphans(state.database, state.store, later, remove=True)
    assert (found.refused, found.orphans, found.removed) == (True, 1, 0)
    assert hashes(state.store) == {orphan}


def test_what_a_record_names_by_now_stays(
    state: ServiceState, client: TestClient, upload: Upload, wav: bytes
) -> None:
    """An upload of equal bytes between the look and the removal."""
    upload(client)
    assert module._remove(state.database, state.store, hashlib.sha256(wav).hexdigest()) is False
    assert len(hashes(state.store)) == 1


def test_erased_evidence_is_retention_s_and_not_an_orphan(
    state: ServiceState, client: TestClient, upload: Upload, wav: bytes
) -> None:
    analysis_id = upload(client)
    client.delete(f"/v1/analysis/{analysis_id}/evidence", params={"reason": "test"})
    with state.store.receive() as incoming:  # a backup of the store brought it back
        incoming.write(wav)
        incoming.finish()
        state.store.publish(incoming)
    later = utc_now() + SAFE_AGE + LATER
    assert orphans(state.database, state.store, later, remove=True) == Orphans(1, 0, 0, 0, 0, refused=False)


def test_the_commands_work_beside_the_service(service_process: Any, wav: bytes) -> None:
    service_process.start()
    with service_process.client() as client:
        client.post("/v1/analysis/upload", files={"file": ("a.wav", wav)})
        blobs: Path = service_process.folder / "evidence" / "blobs"
        sha256 = hashlib.sha256(LEFT).hexdigest()
        orphan = blobs / sha256[:2] / sha256[2:4] / sha256
        orphan.parent.mkdir(parents=True)
        orphan.write_bytes(LEFT)
        old_s = (utc_now() - SAFE_AGE - LATER).timestamp()
        for path in (path for path in blobs.rglob("*") if path.is_file()):
            os.utime(path, (old_s, old_s))
        found = {"named": 1, "orphans": 1, "orphan_bytes": len(LEFT), "removed": 0, "failed": 0, "refused": False}
        assert command(service_process, "orphans") == (0, found)
        assert orphan.exists()
        assert command(service_process, "remove-orphans") == (0, {**found, "removed": 1})
        assert not orphan.exists()
        assert client.get("/v1/audit/chain").json()["events"] == 2


def command(service_process: Any, name: str) -> tuple[int, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "app", name],
        cwd=service_process.folder,
        env={**os.environ, **service_process.environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, json.loads(done.stdout.splitlines()[-1])
