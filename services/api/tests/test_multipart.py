"""Step B3: the streaming form parser takes one file and a few short fields, cut into chunks anyhow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import (
    BrokenMultipartError,
    NotMultipartError,
    UnsupportedMediaError,
    UploadFieldError,
    UploadTooLargeError,
)
from app.evidence.multipart import UploadForm, boundary_of

BOUNDARY = b"XyZ"


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    file = f'; filename="{filename}"' if filename is not None else ""
    head = f'--XyZ\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
    return head.encode() + content + b"\r\n"


END = b"--XyZ--\r\n"


def parse(body: bytes, chunk_bytes: int = 1 << 16, max_file_bytes: int = 1 << 20) -> tuple[UploadForm, bytes]:
    form = UploadForm(BOUNDARY, max_file_bytes=max_file_bytes)
    content = b""
    for start in range(0, len(body), chunk_bytes):
        form.feed(body[start : start + chunk_bytes])
        content += form.take()
    form.finish()
    return form, content


def test_file_and_fields_are_told_apart() -> None:
    form, content = parse(part("case_id", b"7") + part("file", b"RIFF", "../a.wav") + part("notes", b"x\ny") + END)
    assert (form.filename, content, form.fields) == ("a.wav", b"RIFF", {"case_id": "7", "notes": "x\ny"})


@given(content=st.binary(min_size=1, max_size=300), chunk_bytes=st.integers(1, 64))
def test_content_survives_any_chunking(content: bytes, chunk_bytes: int) -> None:
    if b"\r\n--XyZ" in content:
        return
    _, parsed = parse(part("notes", b"n") + part("file", content, "a.wav") + END, chunk_bytes)
    assert parsed == content


def test_content_that_resembles_the_boundary_survives() -> None:
    tricky = b"\r\n--XyY\r\n--Xy\r\r\n-\r\n--XYZ"
    _, parsed = parse(part("file", tricky, "a.wav") + END, 1)
    assert parsed == tricky


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (part("notes", b"n") + END, UploadFieldError),
        (END, UploadFieldError),
        (b"", BrokenMultipartError),
        (b"garbage", BrokenMultipartError),
        (part("file", b"x", "a.wav"), BrokenMultipartError),
        (part("file", b"", "a.wav") + END, UploadFieldError),
        (part("file", b"x") + END, UploadFieldError),
        (part("file", b"x", "a.exe") + END, UnsupportedMediaError),
        (part("file", b"x", "wav") + END, UnsupportedMediaError),
        (part("file", b"x", "a.wav") + part("file", b"x", "b.wav") + END, UploadFieldError),
        (part("notes", b"x") + part("notes", b"x") + END, UploadFieldError),
        (part("surprise", b"x") + END, UploadFieldError),
        (part("notes", b"\xff\xfe") + END, UploadFieldError),
        (part("case_id", b"a\x00b") + END, UploadFieldError),
        (part("case_id", b"a\nb") + END, UploadFieldError),
        (part("case_id", b"x" * 129) + END, UploadFieldError),
        (part("notes", b"x" * 20_000) + END, UploadFieldError),
        (b"--XyZ\r\nContent-Type: audio/wav\r\n\r\nx\r\n" + END, BrokenMultipartError),
        (b"--XyZ\r\n" + b"X-A: b\r\n" * 50 + b"\r\nx\r\n" + END, BrokenMultipartError),
        (b"--XyZ\r\nX-A: " + b"b" * 10_000 + b"\r\n\r\nx\r\n" + END, BrokenMultipartError),
    ],
)
def test_what_is_refused(body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        parse(body)


def test_a_file_beyond_the_limit_is_refused_at_the_limit() -> None:
    form = UploadForm(BOUNDARY, max_file_bytes=10)
    form.feed(part("file", b"", "a.wav")[:-2] + b"x" * 10)
    with pytest.raises(UploadTooLargeError):
        form.feed(b"x")


@pytest.mark.parametrize(
    "content_type", [None, "", "text/plain", "multipart/form-data", "multipart/mixed; boundary=a"]
)
def test_other_requests_are_no_form(content_type: str | None) -> None:
    with pytest.raises(NotMultipartError):
        boundary_of(content_type)


def test_the_boundary_may_be_quoted() -> None:
    assert boundary_of('multipart/form-data; boundary="a b"') == b"a b"
