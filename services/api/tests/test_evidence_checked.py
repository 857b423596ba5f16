"""Evidence that was altered in the store never passes for what was received, although its answer has begun."""

import hashlib
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from app.errors import EvidenceAlteredError
from app.evidence.checked import checked

BLOCKS = (b"one ", b"two ", b"three")
WHOLE = b"".join(BLOCKS)
SHA256 = hashlib.sha256(WHOLE).hexdigest()
REST_BYTES = 3 << 20  # several blocks


@pytest.mark.parametrize("blocks", [(WHOLE,), BLOCKS])
def test_what_was_received_comes_out_whole(blocks: tuple[bytes, ...]) -> None:
    told: list[str] = []
    assert b"".join(checked(iter(blocks), SHA256, len(WHOLE), told.append)) == WHOLE
    assert told == []


@pytest.mark.parametrize(
    "blocks",
    [
        (WHOLE.upper(),),
        (b"One ", b"two ", b"three"),
        (b"one ", b"two ", b"thre3"),
        (b"one ", b"two "),
        (),
        (*BLOCKS, b" and more"),
        (b"one ", b"two ", b"three, four, five"),
    ],
)
def test_what_was_altered_never_comes_out_whole(blocks: tuple[bytes, ...]) -> None:
    told: list[str] = []
    sent = b""
    with pytest.raises(EvidenceAlteredError):
        for block in checked(iter(blocks), SHA256, len(WHOLE), told.append):
            sent += block
    assert len(sent) < len(WHOLE)
    assert told == [hashlib.sha256(b"".join(blocks)).hexdigest()]


def test_a_client_sees_an_answer_that_breaks_off_and_the_audit_trail_says_why(
    service_process: Any, wav: bytes
) -> None:
    content = wav + bytes(REST_BYTES)
    service_process.start()
    with service_process.client() as client:
        answer = client.post("/v1/analysis/upload", files={"file": ("a.wav", content)})
        at = f"/v1/analysis/{answer.json()['analysis_id']}"
        assert client.get(f"{at}/evidence").content == content
        blobs: Path = service_process.folder / "evidence" / "blobs"
        (blob,) = [path for path in blobs.rglob("*") if path.is_file()]
        blob.chmod(0o644)
        blob.write_bytes(content[:-1] + b"!")
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(f"{at}/evidence")
        events = client.get(f"{at}/events").json()["items"]
        assert [event["event_type"] for event in events] == [
            "evidence_received", "evidence_read", "evidence_read", "evidence_altered",
        ]  # fmt: skip
        assert events[-1]["details"] == {
            "sha256": hashlib.sha256(content).hexdigest(),
            "actual_sha256": hashlib.sha256(content[:-1] + b"!").hexdigest(),
        }
        assert client.get("/health").status_code == 200
