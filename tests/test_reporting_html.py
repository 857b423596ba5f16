"""The web page: alone, harmless, and with the same contents as the PDF."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from earwitness.reporting.blocks import Document, Facts, Table
from earwitness.reporting.document import compose
from earwitness.reporting.html import content_policy, render_html
from tests.reports import GROUNDS, KINDS, Kind, a_report, a_subject, an_outline, an_output
from tests.test_reporting_contents import LOOK

HOSTILE = '</script><script>alert(1)</script><img src=x onerror=alert(2)> "&\u202e.mp3'


class Reader(HTMLParser):
    """Collects the page's elements and its text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.data: dict[str, str] = {}
        self._open = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = tag

    def handle_data(self, data: str) -> None:
        if self._open in ("style", "script"):
            self.data[self._open] = self.data.get(self._open, "") + data
        self.text += data

    def handle_endtag(self, tag: str) -> None:
        self._open = ""


def page_and_document(report: dict[str, Any]) -> tuple[str, Document]:
    document = compose(report, an_outline())
    return render_html(document, report), document


def test_it_asks_nothing_of_the_outside() -> None:
    page, _ = page_and_document(a_report(an_output(grounds=GROUNDS), second_look=LOOK))
    reader = Reader(page)

    for tag, attributes in reader.elements:
        for name in ("src", "href", "srcset", "action", "data", "xlink:href"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, name)
    assert "url(" not in reader.data["style"] and "@import" not in reader.data["style"]


def test_its_own_policy_allows_its_own_style_and_nothing_else() -> None:
    page, _ = page_and_document(a_report(an_output()))
    reader = Reader(page)

    digest = base64.b64encode(hashlib.sha256(reader.data["style"].encode()).digest()).decode()
    policy = next(a["content"] for _, a in reader.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy == content_policy()
    assert "default-src 'none'" in content_policy() and f"'sha256-{digest}'" in content_policy()
    assert not any("style" in attributes for _, attributes in reader.elements)
    assert not any(name.startswith("on") for _, attributes in reader.elements for name in attributes)


def test_what_users_wrote_stays_text() -> None:
    report = a_report(an_output(), a_subject(HOSTILE))
    page, _ = page_and_document(report)
    reader = Reader(page)

    scripts = [attributes for tag, attributes in reader.elements if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "report"}]
    assert not any(tag == "img" for tag, _ in reader.elements)
    assert HOSTILE.replace("\u202e", "[U+202E]") in reader.text


def test_it_carries_the_json() -> None:
    report = a_report(an_output(), a_subject(HOSTILE))
    page, _ = page_and_document(report)

    assert json.loads(Reader(page).data["script"]) == report


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_cell_and_every_title_of_the_document_is_in_it(kind: Kind) -> None:
    page, document = page_and_document(a_report(an_output(kind, grounds=GROUNDS), second_look=LOOK))
    text = Reader(page).text

    for section in document.sections:
        assert section.title in text
        for block in section.blocks:
            if isinstance(block, Facts | Table):
                assert all(words in text for row in block.rows for words in row)
    assert len(re.findall("<figure>", page)) == sum(
        type(block).__name__ == "Figure" for section in document.sections for block in section.blocks
    )


def test_the_page_is_well_formed() -> None:
    page, _ = page_and_document(a_report(an_output(grounds=GROUNDS), second_look=LOOK))

    for tag in ("section", "table", "figure", "svg", "main", "body", "ul"):
        assert len(re.findall(rf"<{tag}[ >]", page)) == page.count(f"</{tag}>"), tag
