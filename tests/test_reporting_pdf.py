"""The PDF as a file: PDF/A-3b by its structure, the JSON inside, every text on the page, any file name."""

import io
import json
import re
from typing import Any

import pypdf
import pypdfium2
import pytest

from earwitness.reporting import fonts
from earwitness.reporting.characters import visible
from earwitness.reporting.document import compose
from earwitness.reporting.fonts import printable
from earwitness.reporting.pdf import render_pdf
from tests.reports import GROUNDS, KINDS, Kind, a_failed_subject, a_report, a_subject, an_outline, an_output
from tests.test_reporting_contents import LOOK

MM = 72 / 25.4
NAMES = {
    "accents": "Éric, naïve Größe, Łódź, žluťoučký.mp3",
    "cyrillic and greek": "Запись ζωντανή.ogg",
    "arabic": "تسجيل صوتي ١٢.wav",
    "hebrew": "הקלטה.wav",
    "chinese, japanese, korean": "录音 録音テスト 한국어.m4a",
    "markup": '#include "x" $a$ *b* _c_ `d` <e> & \\u{1F600} @f [g] //h',
    "one long word": "x" * 255,
    "long in another script": "録" * 200,
}


def pdf_of(report: dict[str, Any]) -> pypdf.PdfReader:
    return pypdf.PdfReader(io.BytesIO(render_pdf(compose(report, an_outline()), report)))


def text_of(reader: pypdf.PdfReader) -> str:
    return " ".join(" ".join(page.extract_text().split()) for page in reader.pages)


@pytest.fixture(scope="module")
def full() -> dict[str, Any]:
    return a_report(an_output(grounds=GROUNDS), second_look=LOOK)


@pytest.fixture(scope="module")
def reader(full: dict[str, Any]) -> pypdf.PdfReader:
    return pdf_of(full)


def test_it_declares_pdf_a_3b(reader: pypdf.PdfReader) -> None:
    metadata = reader.trailer["/Root"]["/Metadata"].get_data().decode()

    assert re.search(r"pdfaid:part\W*>?\s*=?\"?3", metadata)
    assert re.search(r"pdfaid:conformance\W*>?\s*=?\"?B", metadata)
    assert not reader.is_encrypted


def test_it_has_an_output_intent_with_a_colour_profile(reader: pypdf.PdfReader) -> None:
    intent = reader.trailer["/Root"]["/OutputIntents"][0].get_object()

    assert intent["/S"] == "/GTS_PDFA1"
    assert intent["/DestOutputProfile"].get_object().get_data()[36:40] == b"acsp"  # an ICC profile's signature


def test_the_json_is_attached_as_the_source(reader: pypdf.PdfReader, full: dict[str, Any]) -> None:
    attached = reader.trailer["/Root"]["/AF"][0].get_object()

    assert attached["/AFRelationship"] == "/Source"
    assert attached["/EF"]["/F"].get_object()["/Subtype"] == "/application/json"
    assert json.loads(attached["/EF"]["/F"].get_object().get_data()) == full
    assert list(reader.attachments) == ["report.json"]


def test_every_font_is_embedded(reader: pypdf.PdfReader) -> None:
    descriptors = []
    for page in reader.pages:
        for font in page["/Resources"].get("/Font", {}).values():
            descendant = font.get_object().get("/DescendantFonts", [font])[0].get_object()
            descriptors.append(descendant["/FontDescriptor"].get_object())

    assert descriptors
    assert all({"/FontFile2", "/FontFile3"} & descriptor.keys() for descriptor in descriptors)


def test_pages_are_a4_and_numbered(reader: pypdf.PdfReader) -> None:
    for number, page in enumerate(reader.pages, start=1):
        assert float(page.mediabox.width) == pytest.approx(210 * MM, abs=0.5)
        assert float(page.mediabox.height) == pytest.approx(297 * MM, abs=0.5)
        assert f"Page {number} of {len(reader.pages)}" in page.extract_text()
        assert "Case 2026-114" in page.extract_text()


def test_it_holds_every_part(reader: pypdf.PdfReader) -> None:
    text = text_of(reader)

    for part in (
        "Question and result", "DEEPFAKE", "Evidence of synthesis", "What was received", "Waveform", "Spectrogram",
        "Pitch variability", "Proposition 1", "moderate support", "ENFSI-2015", "Robustness", "MP3, 32 kbit/s",
        "Nearest tested condition", "Limitations", "Recommended actions", "Every recorded access", "evidence_received",
        "Method and versions", "Glossary", "Signature", "from +3.00 to +0.20",
    ):  # fmt: skip
        assert part in text, part


def test_the_same_report_gives_the_same_bytes(full: dict[str, Any]) -> None:
    document = compose(full, an_outline())

    assert render_pdf(document, full) == render_pdf(document, full)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_of_finding_can_be_set(kind: Kind) -> None:
    text = text_of(pdf_of(a_report(an_output(kind))))

    assert kind.verdict.value in text
    assert ("and with them (posterior)" in text) is (kind.llr is not None)
    assert ("not judged" in text) is bool(kind.abstentions)
    assert ("p_fake of each window" in text) is not bool(kind.abstentions)


def test_a_failed_run_has_a_document_too() -> None:
    report = a_report(None, a_failed_subject())
    reader = pypdf.PdfReader(io.BytesIO(render_pdf(compose(report, None), report)))

    assert "it took too long" in text_of(reader)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_any_file_name_is_set_within_the_margins(name: str) -> None:
    report = a_report(an_output(), a_subject(name))
    data = render_pdf(compose(report, None), report)

    document = pypdfium2.PdfDocument(data)
    for page in document:
        text_page = page.get_textpage()
        boxes = [text_page.get_rect(index) for index in range(text_page.count_rects())]
        assert boxes
        for left, bottom, right, top in boxes:
            assert left > 19 * MM and right < 191 * MM and bottom > 5 * MM and top < 292 * MM
    document.close()


@pytest.mark.parametrize("name", ["accents", "cyrillic and greek", "chinese, japanese, korean", "markup"])
def test_names_can_be_read_back_as_they_were(name: str) -> None:
    report = a_report(an_output(), a_subject(NAMES[name]))
    reader = pypdf.PdfReader(io.BytesIO(render_pdf(compose(report, None), report)))

    assert " ".join(NAMES[name].split()) in text_of(reader)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\u202egpj.exe", "a[U+202E]gpj.exe"),  # would be read as a.exe.jpg turned round
        ("a\x00b\x1bc", "a[U+0000]b[U+001B]c"),
        ("zero\u200bwidth", "zero[U+200B]width"),
        ("lone \ud800", "lone [U+D800]"),
        ("two\nlines", "two lines"),
        ("smile \U0001f600", "smile [U+1F600]"),
    ],
)
def test_what_has_no_shape_or_no_glyph_is_named(name: str, shown: str) -> None:
    assert printable(name) == shown


def test_a_web_page_names_what_has_no_shape_only() -> None:
    assert visible("a\u202eb \U0001f600") == "a[U+202E]b \U0001f600"


def test_the_attachment_keeps_what_the_page_names() -> None:
    report = a_report(an_output(), a_subject("a\u202eb\U0001f600.mp3"))
    reader = pdf_of(report)

    assert "a[U+202E]b[U+1F600].mp3" in text_of(reader)
    assert json.loads(reader.attachments["report.json"][0])["evidence"]["filename"] == "a\u202eb\U0001f600.mp3"


def test_without_a_font_wheel_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from earwitness.errors import ReportError

    missing = fonts.FontFile("no_such_font_package", "x.ttf", "X")
    monkeypatch.setattr(fonts, "FONT_FILES", (missing,))

    with pytest.raises(ReportError, match=r"pip install 'earwitness\[report\]'"):
        fonts.font_folders()
