"""A detector with a fixed opinion that fails on demand: for tests and demonstrations of what surrounds a detector.

    DummyDetector(p_fake=0.9).analyze(DetectorInput(path))                   # DEEPFAKE, 90 %
    DummyDetector(behaviour=Behaviour.CRASH).analyze(DetectorInput(path))    # the process is gone

A recording whose first bytes are `earwitness-dummy:NAME` makes it behave as NAME, so that one file among many can
fail in one worker among many. No sound is decoded.
"""

import math
import os
import signal
import time
from dataclasses import dataclass
from enum import StrEnum

from earwitness.detector import DetectorInput, DetectorOutput, Progress
from earwitness.errors import EmptyMediaError, MediaNotFoundError, UnreadableMediaError
from earwitness.finding import Abstention, MediaInfo, Stretch, WindowScore
from earwitness.policy import Thresholds, confidence, decide

MODEL_VERSION = "dummy-1"
MARKER = b"earwitness-dummy:"
MEMORY_STEP_BYTES = 64 << 20
THRESHOLDS = Thresholds(t_low=0.3, t_high=0.7)
EXIT_CODE = 70  # EX_SOFTWARE
PROGRESS_S = 0.1  # how often a slow one tells how far it is


class Behaviour(StrEnum):
    ANSWER = "answer"
    HANG = "hang"
    """Sleeps for an hour after the delay: longer than any time limit."""
    RAISE_INPUT = "raise_input"
    """The error of an unreadable recording."""
    RAISE_BUG = "raise_bug"
    """An error that no detector should raise."""
    EXIT = "exit"
    """Leaves the process at once, without clean-up."""
    CRASH = "crash"
    """A segmentation fault, as of a broken decoder."""
    EXHAUST_MEMORY = "exhaust_memory"
    """Takes memory until the process gets no more."""


HANG_S = 3600.0


@dataclass(frozen=True, slots=True)
class DummyDetector:
    """Answers every readable file with `p_fake` (between 0 and 1, both excluded), or abstains, after `delay_s`.

    While the delay passes it tells of progress from 0 to `duration_s`.
    """

    p_fake: float = 0.5
    thresholds: Thresholds = THRESHOLDS
    abstentions: tuple[Abstention, ...] = ()
    delay_s: float = 0.0
    behaviour: Behaviour = Behaviour.ANSWER
    duration_s: float = 4.0
    model_version: str = MODEL_VERSION

    def analyze(self, evidence: DetectorInput, progress: Progress | None = None) -> DetectorOutput:
        if not evidence.path.is_file():
            raise MediaNotFoundError(f"{evidence.path.name} is not there: check the path")
        with evidence.path.open("rb") as file:
            head = file.read(len(MARKER) + 32)
        if not head:
            raise EmptyMediaError(f"{evidence.path.name} holds no bytes: send it again")
        self._take_time(progress)
        _misbehave(_named_behaviour(head) or self.behaviour)
        return self._answer()

    def _take_time(self, progress: Progress | None) -> None:
        began_s = time.monotonic()
        while (passed_s := time.monotonic() - began_s) < self.delay_s:
            if progress is not None:
                progress(self.duration_s * passed_s / self.delay_s, self.duration_s)
            time.sleep(min(PROGRESS_S, self.delay_s - passed_s))

    def _answer(self) -> DetectorOutput:
        p_fake = None if self.abstentions else self.p_fake
        llr = math.log(self.p_fake) - math.log1p(-self.p_fake)
        window = WindowScore(0.0, self.duration_s, score=llr, llr=llr, p_fake=self.p_fake, speech_share=1.0)
        return DetectorOutput(
            verdict=decide(p_fake, self.thresholds, self.abstentions),
            confidence=confidence(p_fake),
            explanations=("This answer comes from the dummy detector, which does not listen.",),
            signals={"duration_s": self.duration_s},
            model_version=self.model_version,
            p_fake=p_fake,
            llr=None if p_fake is None else llr,
            score=llr,
            windows=(window,),
            most_suspicious=None if p_fake is None else Stretch(0.0, self.duration_s, self.p_fake),
            abstentions=self.abstentions,
            media=MediaInfo("audio", "dummy", "dummy", 16_000, 1, None),
            duration_s=self.duration_s,
            timings_ms={"total": self.delay_s * 1000.0},
        )


def _named_behaviour(head: bytes) -> Behaviour | None:
    if not head.startswith(MARKER):
        return None
    return Behaviour(head[len(MARKER) :].split(b"\n")[0].decode("ascii").strip())


def _misbehave(behaviour: Behaviour) -> None:
    match behaviour:
        case Behaviour.ANSWER:
            return
        case Behaviour.HANG:
            time.sleep(HANG_S)
        case Behaviour.RAISE_INPUT:
            raise UnreadableMediaError("the dummy detector was asked to find this recording unreadable")
        case Behaviour.RAISE_BUG:
            raise ZeroDivisionError("the dummy detector was asked to raise")
        case Behaviour.EXIT:
            os._exit(EXIT_CODE)
        case Behaviour.CRASH:
            os.kill(os.getpid(), signal.SIGSEGV)
        case Behaviour.EXHAUST_MEMORY:
            hoard = []
            while True:
                hoard.append(bytearray(os.urandom(1)) * MEMORY_STEP_BYTES)  # written to, so really taken
