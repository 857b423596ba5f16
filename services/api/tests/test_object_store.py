"""The service with its evidence in an object store."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.evidence.objects import Place

MakeClient = Callable[..., TestClient]


def named(place: Place) -> dict[str, Any]:
    return {
        "evidence_url": place.url,
        "evidence_endpoint": place.endpoint,
        "evidence_access_key": place.access_key_id,
        "evidence_secret_key": place.secret_access_key,
    }


def test_upload_run_evidence_and_erasure(
    make_client: MakeClient, upload: Callable[..., str], wav: bytes, bucket: Place
) -> None:
    client = make_client(**named(bucket))
    analysis_id = upload(client)
    run = client.post(f"/v1/analysis/{analysis_id}/run").json()
    assert (run["status"], run["sha256"]) == ("DONE", hashlib.sha256(wav).hexdigest())
    assert client.get(f"/v1/analysis/{analysis_id}/evidence").content == wav
    assert client.get("/ready").json()["checks"]["evidence_store"] == "ok"
    erased = client.request("DELETE", f"/v1/analysis/{analysis_id}/evidence", params={"reason": "test"})
    assert erased.status_code in (200, 204), erased.text
    assert client.get(f"/v1/analysis/{analysis_id}/evidence").status_code == 410


def test_two_services_share_it(
    make_client: MakeClient, make_url: Any, upload: Callable[..., str], wav: bytes, bucket: Place
) -> None:
    same = {**named(bucket), "database_url": make_url("postgresql")}
    first, second = make_client(**same), make_client(**same)
    analysis_id = upload(first)
    assert second.post(f"/v1/analysis/{analysis_id}/run").json()["status"] == "DONE"
    assert second.get(f"/v1/analysis/{analysis_id}/evidence").content == wav


def test_readiness_and_uploads_say_that_it_is_away(
    make_client: MakeClient, wav: bytes, bucket: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.evidence.objects.RETRIES", {"max_retries": 0})
    client = make_client(**named(replace(bucket, url=f"{bucket.url.rpartition('/')[0]}-not-there")))
    ready = client.get("/ready")
    assert (ready.status_code, ready.json()["checks"]["evidence_store"]) == (503, "not writable")
    answer = client.post("/v1/analysis/upload", files={"file": ("a.wav", wav)})
    assert (answer.status_code, answer.json()["code"]) == (503, "evidence_unavailable")
    assert client.get("/v1/analysis").json()["total"] == 0
