"""Pictures of a report's pages, to look at: python -m scripts.show_report out.pdf FOLDER [--scale 1.3]

Needs the development tools (pypdfium2). docs/report.md shows two pages made so.
"""

import argparse
from pathlib import Path

import pypdfium2

DEFAULT_SCALE = 1.3  # of 72 dpi: small files, and still readable


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scale", type=float, default=DEFAULT_SCALE)
    parsed = parser.parse_args()
    parsed.folder.mkdir(parents=True, exist_ok=True)
    with pypdfium2.PdfDocument(parsed.report) as document:
        for number, page in enumerate(document, start=1):
            path = parsed.folder / f"{parsed.report.stem}-{number}.png"
            page.render(scale=parsed.scale).to_pil().quantize(64).save(path, optimize=True)
            print(path)


if __name__ == "__main__":
    main()
