"""Pin the shipped models' scores of examples/ anew in tests/golden.json: after a promotion, never to please a test.

    python scripts/update_golden.py

Errors of a model that are known stay listed under `known_errors`; edit them by hand, and say so in the model card.
"""

import csv
import json
from pathlib import Path

from earwitness.model_spec import PROFILES
from earwitness.pipeline import examine
from earwitness.scorer import load_scorer

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden.json"


def pins(model: str, known_errors: dict[str, list[str]]) -> dict[str, object]:
    scorer = load_scorer(ROOT / "models" / "audio" / f"{model}.onnx")
    scores: dict[str, float | None] = {}
    with (ROOT / "examples" / "manifest.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            output = examine(ROOT / "examples" / row["file"], scorer)
            scores[row["file"]] = None if output.score is None else round(output.score, 6)
            print(f"{row['file']:36} {row['expected']:18} {output.verdict:11} {output.score} {output.p_fake}")
    return {"graph_sha256": scorer.spec.graph_sha256, "known_errors": known_errors, "scores": scores}


def main() -> None:
    before = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else {}
    golden = {model: pins(model, before.get(model, {}).get("known_errors", {})) for model in PROFILES.values()}
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
