"""`python -m ml.evaluation.classical`: what a detector says of speech synthesis from before neural networks.

Who tries a detector often begins with a free synthesiser that lies at hand. Those found on PATH (espeak-ng, flite,
festival's text2wave) say six sentences in each of their voices below; printed is a row a voice for docs/model-card.md.
Exit codes: 0 done, 2 no synthesiser is found or the model can't be used.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from earwitness.detector import DetectorInput
from earwitness.errors import EarwitnessError, ModelError
from earwitness.model_spec import default_model_path
from earwitness.onnx_detector import OnnxAudioDetector

SENTENCES = (
    "The committee will publish its decision on Thursday morning, after a short meeting with the mayor.",
    "I told you yesterday that the money has to be transferred before noon, otherwise the contract is void.",
    "When the storm reached the coast, most of the families had already left for the hills in the north.",
    "Please call me back as soon as you hear this message; it is really very important to all of us.",
    "She opened the old wooden door and found a letter on the floor, without a name and without a stamp.",
    "Our new product costs less than the previous one, and it will be available in every shop next week.",
)
LIMIT_S = 60.0  # for one sentence; they take a second
TEXT, OUT = "{text}", "{out}"


@dataclass(frozen=True, slots=True)
class Voice:
    program: str
    name: str
    method: str
    arguments: tuple[str, ...]
    """TEXT and OUT stand for the sentence and the file; without TEXT the sentence goes to standard input."""


def _espeak(name: str) -> Voice:
    return Voice("espeak-ng", name, "formants", ("-v", name, "-w", OUT, TEXT))


def _flite(name: str, method: str) -> Voice:
    return Voice("flite", name, method, ("-voice", name, "-t", TEXT, "-o", OUT))


def _festival(name: str, method: str) -> Voice:
    return Voice("text2wave", name, method, ("-eval", f"(voice_{name})", "-o", OUT))


VOICES = (
    _espeak("en-us"),
    _espeak("en-us+m3"),
    _espeak("en-gb+f3"),
    _flite("kal", "diphones, 8 kHz"),
    _flite("kal16", "diphones"),
    _festival("kal_diphone", "diphones"),
    _flite("slt", "statistical"),
    _flite("rms", "statistical"),
    _flite("awb", "statistical"),
    _festival("cmu_us_slt_arctic_hts", "statistical"),
)


def speak(voice: Voice, text: str, out: Path) -> bool:
    """Whether the voice said it: one that is not installed says nothing, or fails."""
    program = shutil.which(voice.program)
    if program is None:
        return False
    given = [{TEXT: text, OUT: str(out)}.get(argument, argument) for argument in voice.arguments]
    spoken = None if TEXT in voice.arguments else text
    done = subprocess.run(  # noqa: S603  what the table above names, no shell
        [program, *given], input=spoken, text=True, capture_output=True, timeout=LIMIT_S, check=False
    )
    return done.returncode == 0 and out.exists() and out.stat().st_size > 0


def row(voice: Voice, outputs: Sequence[tuple[str, float | None]]) -> str:
    """A line of the table from the verdict and the probability of each sentence; None: none was given."""
    verdicts = Counter(verdict for verdict, _ in outputs)
    given = sorted(p_fake for _, p_fake in outputs if p_fake is not None)
    span = f"{given[0]:.2f} to {given[-1]:.2f}" if given else "-"
    counts = " | ".join(str(verdicts[name]) for name in ("DEEPFAKE", "SUSPICIOUS", "AUTHENTIC"))
    return f"| {voice.program} | {voice.name} | {voice.method} | {len(outputs)} | {span} | {counts} |"


def judged(detector: OnnxAudioDetector, voice: Voice) -> list[tuple[str, float | None]]:
    """Verdict and probability of each sentence that the voice says."""
    outputs = []
    with tempfile.TemporaryDirectory() as folder:
        for number, text in enumerate(SENTENCES):
            out = Path(folder, f"{number}.wav")
            if not speak(voice, text, out):
                continue
            try:
                found = detector.analyze(DetectorInput(out))
            except EarwitnessError as error:  # an empty sound of a voice that is not installed
                print(f"{voice.program} {voice.name}: {error}", file=sys.stderr)
                continue
            outputs.append((found.verdict.value, found.p_fake))
    return outputs


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ml.evaluation.classical", description=__doc__)
    parser.add_argument("--model", type=Path, default=default_model_path(), help="the .onnx file")
    options = parser.parse_args(arguments)
    try:
        detector = OnnxAudioDetector(options.model)
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    rows = [row(voice, outputs) for voice in VOICES if (outputs := judged(detector, voice))]
    if not rows:
        programs = ", ".join(sorted({voice.program for voice in VOICES}))
        print(
            f"error: none of {programs} speaks: install one (Debian: espeak-ng, flite, festival)", file=sys.stderr
        )
        return 2
    print("| program | voice | method | sentences | p_fake | DEEPFAKE | SUSPICIOUS | AUTHENTIC |")
    print("| --- " * 8 + "|")
    print("\n".join(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
