"""The service with its evidence in an object store."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import obstore
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


def keys(place: Place) -> list[str]:
    """What really lies in the bucket, asked without the service."""
    return [found["path"] for page in obstore.list(place.open()) for found in page]


def key_of(content: bytes) -> str:
    sha256 = hashlib.sha256(content).hexdigest()
    return f"blobs/{sha256[:2]}/{sha256[2:4]}/{sha256}"


def test_upload_run_evidence_and_erasure(
    make_client: MakeClient, upload: Callable[..., str], wav: bytes, bucket: Place
) -> None:
    client = make_client(**named(bucket))
    analysis_id = upload(client)
    run = client.post(f"/v1/analysis/{analysis_id}/run").json()
    assert (run["status"], run["sha256"]) == ("DONE", hashlib.sha256(wav).hexdigest())
    assert client.get(f"/v1/analysis/{analysis_id}/evidence").content == wav
    assert client.get("/ready").json()["checks"]["evidence_store"] == "ok"
    assert keys(bucket) == [key_of(wav)]
    erased = client.request("DELETE", f"/v1/analysis/{analysis_id}/evidence", params={"reason": "test"})
    assert erased.status_code == 200, erased.text
    assert keys(bucket) == [], "the object is gone from the bucket"
    record = client.get(f"/v1/analysis/{analysis_id}").json()
    assert (record["status"], record["sha256"]) == ("DONE", hashlib.sha256(wav).hexdigest())
    assert record["erased_at"] and record["removed_at"]
    assert (
        client.get(f"/v1/analysis/{analysis_id}/report").json()["evidence"]["sha256_at_receipt"]
        == record["sha256"]
    )
    assert client.get(f"/v1/analysis/{analysis_id}/evidence").status_code == 410


def test_bytes_that_two_analyses_share_leave_the_bucket_with_the_last_of_them(
    make_client: MakeClient, make_url: Any, upload: Callable[..., str], wav: bytes, bucket: Place
) -> None:
    same = {**named(bucket), "database_url": make_url("postgresql")}
    first, second = make_client(**same), make_client(**same)
    ids = [upload(first), upload(second)]
    first.request("DELETE", f"/v1/analysis/{ids[0]}/evidence", params={"reason": "test"})
    assert keys(bucket) == [key_of(wav)]
    assert second.get(f"/v1/analysis/{ids[1]}/evidence").content == wav
    second.request("DELETE", f"/v1/analysis/{ids[1]}/evidence", params={"reason": "test"})
    assert keys(bucket) == []


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
