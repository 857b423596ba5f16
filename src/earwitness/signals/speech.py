"""How much of the recording is speech, and how loud and clear it is, as the suitability check measured it."""

from earwitness.grounds import Signal
from earwitness.signals.frames import Frames
from earwitness.signals.meter import Context

SPEECH_REFERENCE = "Silero VAD 5 (Silero Team, 2024, github.com/snakers4/silero-vad), chunks of 32 ms"
LEVEL_REFERENCE = "Level while somebody speaks, after the active speech level of ITU-T P.56"


class Speech:
    """Nothing is left to hear: the voice detector has heard every chunk already."""

    def push(self, frames: Frames) -> None:
        pass

    def signals(self, context: Context) -> tuple[Signal, ...]:
        measured = context.measured
        return (
            Signal("speech_s", "Speech", measured.speech_s, "s", SPEECH_REFERENCE),
            Signal("speech_share", "Speech in the recording", measured.speech_share, "share", SPEECH_REFERENCE),
            Signal("level_dbfs", "Level of the speech", measured.level_dbfs, "dBFS", LEVEL_REFERENCE),
            Signal("snr_db", "Speech over noise", measured.snr_db, "dB", LEVEL_REFERENCE),
        )
