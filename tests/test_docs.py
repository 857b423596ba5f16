"""The documents name what exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {"api": "services/api/tests", "lib": "tests", "ml": "ml/tests"}
NAMED = re.compile(r"\b(api|lib|ml)/(test_\w+\.py)::(test_\w+)")
LINK = re.compile(r"\]\((?!https?://)([^)#]+)\)")


def test_every_test_in_the_matrix_exists() -> None:
    named = NAMED.findall((ROOT / "docs" / "test-matrix.md").read_text(encoding="utf-8"))
    assert len(named) > 80
    missing = []
    for folder, file, test in named:
        path = ROOT / FOLDERS[folder] / file
        if not path.exists() or not re.search(rf"^(async )?def {test}\(", path.read_text(encoding="utf-8"), re.M):
            missing.append(f"{folder}/{file}::{test}")
    assert missing == []


@pytest.mark.parametrize(
    "document", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]), ids=lambda p: p.name
)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    targets = LINK.findall(document.read_text(encoding="utf-8"))
    assert [target for target in targets if not (document.parent / target).exists()] == []
