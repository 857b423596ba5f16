"""Step B3: no filename, content type or broken body makes the service fail or leaves anything behind."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

SEED = 20261122
BOUNDARIES = ["b", "x" * 70, "a'()+_,-./:=?", "--", "Ä"]
PIECES = [
    "../", "..\\", "\x00", "\r\n", '"', "\\", "%00", "%2e%2e%2f", "a", "evil", ".wav", ".exe", ".mp4", "ö", "\u202e",
    "\U0001f3a4", "CON", "~", "$(reboot)", "'; DROP TABLE analysis_records; --", "<script>", " ", ".", "/etc/passwd",
    "x" * 300, "\x7f", "\x1b[31m", "C:\\",
]  # fmt: skip
CONTENT_TYPES = [
    "audio/wav", "video/mp4", "text/html", "", "application/octet-stream", "audio/wav; charset=\x80", "a" * 500,
    "multipart/mixed; boundary=c", "\x00", "audio/wav\r\nX-Injected: 1",
]  # fmt: skip
EXPECTED = {201, 400, 413, 415, 422}


def name_of(generator: random.Random) -> str:
    return "".join(generator.choices(PIECES, k=generator.randint(0, 5))) + generator.choice([".wav", ".ogg", ""])


def body_of(generator: random.Random, boundary: str, wav: bytes) -> bytes:
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name_of(generator)}"\r\n'
        f"Content-Type: {generator.choice(CONTENT_TYPES)}\r\n\r\n"
    ).encode("utf-8", "replace")
    content = generator.choice([wav, wav[:44], wav[: len(wav) // 2], b"RIFF", generator.randbytes(200), b""])
    fields = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{name_of(generator)}\r\n'
        for name in generator.choices(
            ["notes", "case_id", "source", "file", "", "surprise"], k=generator.randint(0, 3)
        )
    ).encode("utf-8", "replace")
    return broken(generator, fields + head + content + f"\r\n--{boundary}--\r\n".encode())


def broken(generator: random.Random, body: bytes) -> bytes:
    """Mostly as it is; else cut, doubled, with bytes changed, or with its line ends gone."""
    match generator.randint(0, 7):
        case 0:
            return body[: generator.randrange(len(body))]
        case 1:
            return body + body
        case 2:
            changed = bytearray(body)
            for _ in range(generator.randint(1, 8)):
                changed[generator.randrange(len(changed))] = generator.randrange(256)
            return bytes(changed)
        case 3:
            return body.replace(b"\r\n", b"\n", generator.randint(1, 9))
        case _:
            return body


def fuzz(client: TestClient, root: Path, wav: bytes, count: int) -> None:
    generator = random.Random(SEED)
    accepted: dict[str, str] = {}
    for number in range(count):
        boundary = generator.choice(BOUNDARIES)
        header = generator.choice([f"multipart/form-data; boundary={boundary}"] * 8 + CONTENT_TYPES[:7])
        answer = client.post(
            "/v1/analysis/upload",
            content=body_of(generator, boundary, wav),
            headers={"Content-Type": header.encode("latin-1", "replace")},
        )
        assert answer.status_code in EXPECTED, (number, answer.status_code, answer.text)
        if answer.status_code == 201:
            accepted[answer.json()["analysis_id"]] = answer.json()["sha256"]
    assert accepted and len(accepted) < count
    assert client.get("/v1/analysis").json()["total"] == len(accepted)
    stored = {path.name for path in root.rglob("*") if path.is_file()}
    assert stored == {".lock", "store-id", *accepted.values()}
    assert client.get("/v1/audit/chain").json()["events"] == len(accepted)


def test_300_fuzzed_uploads_give_no_5xx_and_no_orphan(
    make_client: Callable[..., TestClient], tmp_path: Path, wav: bytes
) -> None:
    fuzz(make_client(evidence_dir=tmp_path / "store"), tmp_path / "store", wav, 300)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_10000_fuzzed_uploads_give_no_5xx_and_no_orphan(
    make_client: Callable[..., TestClient], tmp_path: Path, wav: bytes, kind: str
) -> None:
    fuzz(make_client(evidence_dir=tmp_path / "store", kind=kind), tmp_path / "store", wav, 10_000)


def test_any_content_type_header_of_the_request_is_answered(client: TestClient, wav: bytes) -> None:
    generator = random.Random(SEED)
    for _ in range(50):
        header: Any = bytes(generator.randrange(0x21, 0x100) for _ in range(generator.randint(0, 80)))
        answer = client.post("/v1/analysis/upload", content=wav, headers={"Content-Type": header})
        assert answer.status_code in (400, 415)
