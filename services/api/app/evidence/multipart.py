"""A multipart form with one file and a few short fields, parsed as it arrives.

    form = UploadForm(boundary, max_file_bytes=...)
    form.feed(chunk)            # as often as the network gives one
    form.take()                 # the file's bytes that arrived meanwhile, to be written
    form.finish()               # the body is complete, and so is the form

python-multipart finds the boundaries. The framework's own form parser is not used: it would write the file to a
temporary place of its own first, and accept any number and size of parts.
"""

import unicodedata
from collections.abc import Mapping

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.errors import (
    BrokenMultipartError,
    NotMultipartError,
    UnsupportedMediaError,
    UploadFieldError,
    UploadTooLargeError,
)
from app.evidence.names import ACCEPTED_SUFFIXES, clean_filename, extension

FILE_FIELD = "file"
MAX_FIELD_CHARACTERS: Mapping[str, int] = {
    "case_id": 128,
    "exhibit_id": 128,
    "device_id": 128,
    "source": 512,
    "notes": 4_000,
}
"""Every field that may stand beside the file; the lengths are those of the columns, a page for the notes."""
MAX_FIELD_BYTES = 16_384  # 4,000 characters of any script in UTF-8
MAX_PART_HEADER_BYTES = 4_096
MAX_PART_HEADERS = 8
FORM_OVERHEAD_BYTES = 256 * 1024  # boundaries, headers and fields beside the file: far more than allowed above
MULTI_LINE_FIELDS = frozenset({"notes"})


def boundary_of(content_type: str | None) -> bytes:
    """Raises NotMultipartError where the request is no multipart form."""
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not boundary:
        raise NotMultipartError("send the recording as multipart/form-data, in a part named `file`")
    return boundary


class UploadForm:
    """Errors are raised by `feed` at the byte that shows them."""

    def __init__(self, boundary: bytes, *, max_file_bytes: int) -> None:
        self.filename: str | None = None
        """The cleaned label; None until the file's part began."""
        self.fields: dict[str, str | None] = {}
        self.buffered = 0
        """Bytes that `take` would give."""
        self._max_file_bytes = max_file_bytes
        self._file_bytes = 0
        self._file_pieces: list[bytes] = []
        self._part: str | None = None
        self._part_headers: dict[str, bytearray] = {}
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._field_value = bytearray()
        self._complete = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
                max_header_count=MAX_PART_HEADERS,
                max_header_size=MAX_PART_HEADER_BYTES,
            )
        except FormParserError as error:
            raise BrokenMultipartError(f"the boundary can't be used: {error}") from error

    def feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise BrokenMultipartError(f"the multipart body is broken: {error}") from error

    def take(self) -> bytes:
        """The file's bytes since the last call."""
        block = b"".join(self._file_pieces)
        self._file_pieces.clear()
        self.buffered = 0
        return block

    def finish(self) -> str:
        """The file's label. Raises BrokenMultipartError or UploadFieldError where something is missing."""
        if not self._complete:
            raise BrokenMultipartError("the multipart body ends before its last boundary: the upload broke off")
        if self.filename is None:
            raise UploadFieldError("the form has no part named `file`: send the recording in it")
        if self._file_bytes == 0:
            raise UploadFieldError("the recording holds no bytes: the file is empty or was not read")
        return self.filename

    def _on_part_begin(self) -> None:
        self._part = None
        self._part_headers = {}
        self._field_value.clear()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        self._part_headers[self._header_name.decode("latin-1").lower()] = bytearray(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def _on_headers_finished(self) -> None:
        disposition = bytes(self._part_headers.get("content-disposition", b""))
        kind, options = parse_options_header(disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if kind != b"form-data" or not name:
            raise BrokenMultipartError("a part has no `Content-Disposition: form-data` with a name")
        if name in self.fields or (name == FILE_FIELD and self.filename is not None):
            raise UploadFieldError(f"the field `{name}` comes twice")
        if name == FILE_FIELD:
            if b"filename" not in options:
                raise UploadFieldError("the part `file` has no filename: send the recording as a file")
            self._begin_file(options[b"filename"])
        elif name not in MAX_FIELD_CHARACTERS:
            raise UploadFieldError(f"unknown field; allowed are file, {', '.join(MAX_FIELD_CHARACTERS)}")
        self._part = name

    def _begin_file(self, raw_name: bytes) -> None:
        label = clean_filename(raw_name.decode("utf-8", "replace"))
        if f".{extension(label)}" not in ACCEPTED_SUFFIXES:
            raise UnsupportedMediaError(
                f"files must have an extension of a recording, such as .wav, .mp3, .m4a, .ogg or .mp4; this is "
                f"`.{extension(label)[:16]}`"
            )
        self.filename = label

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._part == FILE_FIELD:
            self._file_bytes += end - start
            if self._file_bytes > self._max_file_bytes:
                raise UploadTooLargeError(f"the recording is larger than {self._max_file_bytes} bytes")
            self._file_pieces.append(data[start:end])
            self.buffered += end - start
            return
        self._field_value += data[start:end]
        if len(self._field_value) > MAX_FIELD_BYTES:
            raise UploadFieldError(f"the field `{self._part}` is too long")

    def _on_part_end(self) -> None:
        if self._part is not None and self._part != FILE_FIELD:
            self.fields[self._part] = _text(self._part, bytes(self._field_value))

    def _on_end(self) -> None:
        self._complete = True


def _text(name: str, raw: bytes) -> str | None:
    """A field's text, None where it is blank. Raises UploadFieldError."""
    try:
        text = unicodedata.normalize("NFC", raw.decode("utf-8")).strip()
    except UnicodeDecodeError as error:
        raise UploadFieldError(f"the field `{name}` is not UTF-8 text") from error
    if len(text) > MAX_FIELD_CHARACTERS[name]:
        raise UploadFieldError(f"the field `{name}` is longer than {MAX_FIELD_CHARACTERS[name]} characters")
    allowed = "\n\r\t" if name in MULTI_LINE_FIELDS else ""
    if any(unicodedata.category(c) == "Cc" and c not in allowed for c in text):
        raise UploadFieldError(f"the field `{name}` holds control characters")
    return text or None
