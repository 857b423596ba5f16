"""A document as one self-contained web page: no request to anywhere, no script, and a policy that forbids both.

    page = render_html(document, report)

The report's JSON lies in the page as data, so that the page alone is enough to have the machine-readable original.
"""

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterable, Mapping
from functools import lru_cache
from html import escape
from importlib import resources
from typing import Any

from earwitness.reporting.blocks import (
    Block,
    Bullets,
    Callout,
    Document,
    Facts,
    Figure,
    Paragraph,
    Section,
    Signature,
    Subheading,
    Table,
)
from earwitness.reporting.characters import visible

STYLE = "reporting/report.css"
HASH_LENGTH = 64

EMBEDDED, EMBEDDED_END = '<script type="application/json" id="report">', "</script>"
"""Between them the page holds the report's JSON, without a `<`."""


def render_html(document: Document, report: Mapping[str, Any]) -> str:
    """The page, in UTF-8 when it is written."""
    style = _style()
    attached = json.dumps(report, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    body = "".join(
        (
            f'<header><p class="kind">earwitness · forensic report</p><h1>{_text(document.title)}</h1>',
            f'<p class="subtitle">{_text(document.subtitle)}</p></header>',
            "<main>",
            *(_section(section) for section in document.sections),
            f"</main><footer><p>{_text(document.footer)}</p></footer>",
        )
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{content_policy()}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(document.title)}: {_text(document.subtitle)}</title>"
        f"<style>{style}</style></head>\n<body>{body}\n"
        f"{EMBEDDED}{attached}{EMBEDDED_END}\n</body></html>\n"
    )


@lru_cache(maxsize=1)
def content_policy() -> str:
    """For the page and for the header that it is served with: its own style and pictures, nothing else."""
    digest = b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"


@lru_cache(maxsize=1)
def _style() -> str:
    return resources.files("earwitness").joinpath(STYLE).read_text(encoding="utf-8")


def _section(section: Section) -> str:
    return f"<section><h2>{_text(section.title)}</h2>{''.join(map(_block, section.blocks))}</section>"


def _block(block: Block) -> str:  # noqa: PLR0911  one return a kind of block
    match block:
        case Paragraph():
            return f"<p{' class=note' if block.note else ''}>{_text(block.text)}</p>"
        case Subheading():
            return f"<h3>{_text(block.text)}</h3>"
        case Bullets():
            return f"<ul>{_each('li', block.items)}</ul>"
        case Facts():
            rows = "".join(
                f"<tr><th scope=row>{_text(label)}</th>{_cell(words)}</tr>" for label, words in block.rows
            )
            return f'<table class="facts">{rows}</table>'
        case Table():
            rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in block.rows)
            return f"<table><thead><tr>{_each('th', block.header)}</tr></thead><tbody>{rows}</tbody></table>"
        case Figure():
            return f"<figure>{block.svg}<figcaption>{_text(block.caption)}</figcaption></figure>"
        case Callout():
            figures = "".join(f"<div><dt>{_text(k)}</dt><dd>{_text(v)}</dd></div>" for k, v in block.figures)
            return (
                f'<div class="verdict {block.tone}"><p class="headline">{_text(block.headline)}</p>'
                f"<p>{_text(block.text)}</p><dl>{figures}</dl></div>"
            )
        case Signature():
            return f'<ul class="signature">{_each("li", block.lines)}</ul>'


def _each(tag: str, texts: Iterable[str]) -> str:
    return "".join(f"<{tag}>{_text(text)}</{tag}>" for text in texts)


def _cell(words: str) -> str:
    is_hash = len(words) == HASH_LENGTH and all(c in "0123456789abcdef" for c in words)
    return f"<td{' class=hash' if is_hash else ''}>{_text(words)}</td>"


def _text(words: str) -> str:
    """Escaped, and kept from turning the direction of what stands beside it."""
    return f"<bdi>{escape(visible(words))}</bdi>" if not words.isascii() else escape(visible(words))
