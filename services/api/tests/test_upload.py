"""Step B3: evidence is taken in over HTTP."""

import hashlib
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

Upload = Callable[..., str]


def test_upload_gives_a_uuid_and_the_sha256_and_makes_the_row(client: TestClient, wav: bytes) -> None:
    answer = client.post("/v1/analysis/upload", files={"file": ("voice.wav", wav, "audio/wav")})
    assert answer.status_code == 201
    receipt = answer.json()
    assert uuid.UUID(receipt["analysis_id"]).version == 4
    assert receipt["sha256"] == hashlib.sha256(wav).hexdigest()
    assert answer.headers["location"] == f"/v1/analysis/{receipt['analysis_id']}"
    record = client.get(answer.headers["location"]).json()
    expected = {
        "sha256": receipt["sha256"],
        "size_bytes": len(wav),
        "filename": "voice.wav",
        "media_type": "audio",
        "container": "wav",
        "codec": "pcm_s16le",
        "sample_rate_hz": 8_000,
        "channels": 1,
        "duration_s": 0.5,
        "status": "UPLOADED",
        "verdict": "SUSPICIOUS",
        "confidence": 0.0,
        "p_fake": None,
        "run_id": None,
    }
    assert {name: record[name] for name in expected} == expected


def test_case_fields_are_kept(client: TestClient, upload: Upload) -> None:
    fields = {
        "case_id": "2026-1",
        "exhibit_id": "A-3",
        "device_id": "pixel",
        "source": "witness",
        "notes": "l1\nl2",
    }
    record = client.get(f"/v1/analysis/{upload(client, **fields)}").json()
    assert {name: record[name] for name in fields} == fields


def test_blank_fields_are_null(client: TestClient, upload: Upload) -> None:
    record = client.get(f"/v1/analysis/{upload(client, case_id='  ')}").json()
    assert record["case_id"] is None


def test_missing_file_field_is_422(client: TestClient) -> None:
    answer = client.post("/v1/analysis/upload", data={"notes": "no file"}, files={"notes2": b""})
    assert (answer.status_code, answer.json()["code"]) == (422, "upload_field")


def test_a_request_that_is_no_form_is_415(client: TestClient) -> None:
    answer = client.post("/v1/analysis/upload", json={"file": "a.wav"})
    assert (answer.status_code, answer.json()["code"]) == (415, "not_multipart")


@pytest.mark.parametrize("name", ["virus.exe", "notes.txt", "wav", "a.wav.exe", "playlist.m3u8"])
def test_unsupported_extension_is_415(client: TestClient, wav: bytes, name: str) -> None:
    answer = client.post("/v1/analysis/upload", files={"file": (name, wav)})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media")


@pytest.mark.parametrize(
    "content",
    [
        b"just text, called .wav",
        b"\x7fELF" + bytes(500),
        b"RIFF\x00\x00\x00\x00WAVE",
        b"#EXTM3U\nfile:///etc/passwd",
    ],
)
def test_content_that_is_no_recording_is_415(client: TestClient, content: bytes) -> None:
    answer = client.post("/v1/analysis/upload", files={"file": ("a.wav", content, "audio/wav")})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media")
    assert "a.wav" in answer.json()["detail"] or "damaged" in answer.json()["detail"]


def test_the_content_type_header_of_the_part_is_not_believed(client: TestClient, wav: bytes) -> None:
    answer = client.post("/v1/analysis/upload", files={"file": ("a.wav", wav, "text/html")})
    assert answer.status_code == 201


def test_an_empty_file_is_422(client: TestClient) -> None:
    answer = client.post("/v1/analysis/upload", files={"file": ("a.wav", b"")})
    assert (answer.status_code, answer.json()["code"]) == (422, "upload_field")


@pytest.mark.parametrize("declared", [True, False])
def test_a_huge_file_is_413_and_leaves_nothing(
    make_client: Callable[..., TestClient], tmp_path: Path, make_wav: Any, declared: bool
) -> None:
    client = make_client(max_upload_bytes=5_000, evidence_dir=tmp_path / "store")
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    body = head + make_wav(seconds=60.0) + b"\r\n--b--\r\n"

    def pieces() -> Any:
        for start in range(0, len(body), 1_000):
            yield body[start : start + 1_000]

    answer = client.post(
        "/v1/analysis/upload",
        content=body if declared else pieces(),
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )
    assert (answer.status_code, answer.json()["code"]) == (413, "upload_too_large")
    left = {path.name for path in (tmp_path / "store").rglob("*") if path.is_file()}
    assert left == {".lock", "store-id"}
    assert client.get("/v1/analysis").json()["total"] == 0


def test_a_file_of_exactly_the_limit_is_taken(make_client: Callable[..., TestClient], wav: bytes) -> None:
    client = make_client(max_upload_bytes=len(wav))
    assert client.post("/v1/analysis/upload", files={"file": ("a.wav", wav)}).status_code == 201


@pytest.mark.parametrize(
    "name", ["../../evil.wav", "..\\..\\evil.wav", "/tmp/evil.wav", "a/../evil.wav", "ev\x00il.wav"]
)
def test_traversal_in_the_filename_is_harmless(
    make_client: Callable[..., TestClient], tmp_path: Path, wav: bytes, name: str
) -> None:
    root = tmp_path / "deep" / "store"
    client = make_client(evidence_dir=root)
    before = {path for path in tmp_path.rglob("*") if root not in path.parents}
    body = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode() + wav
    answer = client.post(
        "/v1/analysis/upload",
        content=body + b"\r\n--b--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )
    assert answer.status_code == 201
    assert answer.json()["filename"] == "evil.wav"
    assert {path for path in tmp_path.rglob("*") if root not in path.parents} == before
    assert not [path for path in root.rglob("*") if "evil" in path.name]


def test_the_same_bytes_twice_share_one_blob_but_get_two_analyses(
    make_client: Callable[..., TestClient], upload: Upload, tmp_path: Path
) -> None:
    client = make_client(evidence_dir=tmp_path / "store")
    first, second = upload(client), upload(client)
    assert first != second
    one, two = (client.get(f"/v1/analysis/{i}").json()["sha256"] for i in (first, second))
    assert one == two
    assert len([path for path in (tmp_path / "store" / "blobs").rglob("*") if path.is_file()]) == 1


def test_an_upload_whose_bytes_would_not_be_there_is_not_acknowledged(
    make_client: Callable[..., TestClient], upload: Upload, tmp_path: Path, wav: bytes
) -> None:
    client = make_client(evidence_dir=tmp_path / "store")
    upload(client)
    (blob,) = [path for path in (tmp_path / "store" / "blobs").rglob("*") if path.is_file()]
    blob.chmod(0o644)
    blob.write_bytes(b"tampered")
    answer = client.post("/v1/analysis/upload", files={"file": ("a.wav", wav)})
    assert (answer.status_code, answer.json()["code"]) == (500, "evidence_altered")
    assert client.get("/v1/analysis").json()["total"] == 1
    assert blob.read_bytes() == b"tampered"


def test_parallel_uploads_of_the_same_bytes_all_succeed(client: TestClient, upload: Upload, make_wav: Any) -> None:
    content = make_wav(tone_hz=321.0)
    with ThreadPoolExecutor(8) as threads:
        ids = list(threads.map(lambda _: upload(client, content=content), range(8)))
    assert len(set(ids)) == 8
    assert client.get(f"/v1/analysis/{ids[0]}/evidence").content == content


def test_evidence_comes_back_unaltered_with_its_digest(client: TestClient, upload: Upload, wav: bytes) -> None:
    answer = client.get(f"/v1/analysis/{upload(client, name='Aufnahme „1“.wav')}/evidence")
    assert answer.content == wav
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment; filename*=UTF-8''Aufnahme%20")
    assert answer.headers["repr-digest"].startswith("sha-256=:")


class TestIdempotencyKey:
    def send(self, client: TestClient, key: str, content: bytes, name: str = "a.wav", user: str = "u") -> Any:
        headers = {"Idempotency-Key": key, "X-User": user, "X-Role": "field"}
        return client.post("/v1/analysis/upload", files={"file": (name, content)}, headers=headers)

    def test_the_same_request_gets_the_same_answer(self, client: TestClient, wav: bytes) -> None:
        key = uuid.uuid4().hex
        first, second = self.send(client, key, wav), self.send(client, key, wav)
        assert (first.status_code, second.status_code) == (201, 201)
        assert first.json() == second.json()
        assert second.headers["idempotency-replayed"] == "true"
        assert "idempotency-replayed" not in first.headers

    def test_the_answer_stays_the_same_after_a_run(self, client: TestClient, wav: bytes) -> None:
        key = uuid.uuid4().hex
        first = self.send(client, key, wav).json()
        client.post(f"/v1/analysis/{first['analysis_id']}/run")
        assert self.send(client, key, wav).json() == first

    @pytest.mark.parametrize("change", ["bytes", "name"])
    def test_another_request_with_the_key_is_422(
        self, client: TestClient, wav: bytes, make_wav: Any, change: str
    ) -> None:
        key = uuid.uuid4().hex
        self.send(client, key, wav)
        other = make_wav(tone_hz=555.0) if change == "bytes" else wav
        answer = self.send(client, key, other, "b.wav" if change == "name" else "a.wav")
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key")

    def test_keys_of_different_users_are_different(self, client: TestClient, wav: bytes) -> None:
        key = uuid.uuid4().hex
        first, second = self.send(client, key, wav, user="u1"), self.send(client, key, wav, user="u2")
        assert first.json()["analysis_id"] != second.json()["analysis_id"]

    def test_parallel_equal_requests_make_one_analysis(self, client: TestClient, wav: bytes) -> None:
        key = uuid.uuid4().hex
        start = threading.Barrier(6)

        def send(_number: int) -> str:
            start.wait()
            analysis_id: str = self.send(client, key, wav).json()["analysis_id"]
            return analysis_id

        with ThreadPoolExecutor(6) as threads:
            assert len(set(threads.map(send, range(6)))) == 1

    @pytest.mark.parametrize("key", ["", "x" * 256, "with space"])
    def test_a_malformed_key_is_422(self, client: TestClient, wav: bytes, key: str) -> None:
        assert self.send(client, key, wav).status_code == 422
