import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from earwitness.chance import StretchChance
from earwitness.detector import DetectorOutput
from earwitness.errors import EmptyMediaError, UnreadableMediaError
from earwitness.finding import Abstention, Verdict
from earwitness.model_spec import SuitabilityLimits
from earwitness.pipeline import ExamineOptions, examine
from earwitness.report import as_used, method_from_spec
from earwitness.scorer import Scorer, load_scorer
from earwitness.waveform import SAMPLE_RATE_HZ, Samples
from tests.audio_files import write_audio, write_silent_film
from tests.speechlike import repeated, speechlike
from tests.toy_model import write_toy_model


def hissing(samples: Samples) -> Samples:
    """The toy takes much energy above 4 kHz for synthesis: hiss where there is speech."""
    white = np.random.default_rng(0).normal(0, 0.02, samples.size)
    hiss = np.diff(white, n=2, prepend=[0.0, 0.0])
    return np.where(np.abs(samples) > 1e-3, samples + hiss, samples).astype(np.float32)


def muffled(samples: Samples) -> Samples:
    spectrum = np.fft.rfft(samples)
    spectrum[np.fft.rfftfreq(samples.size, 1 / SAMPLE_RATE_HZ) > 3_500.0] = 0.0
    return np.fft.irfft(spectrum, samples.size).astype(np.float32)


def examined(path: Path, scorer: Scorer, **options: object) -> DetectorOutput:
    return examine(path, scorer, ExamineOptions(**options))  # type: ignore[arg-type]


def test_the_verdict_follows_the_score(tmp_path: Path, toy_scorer: Scorer) -> None:
    spoof = examined(write_audio(tmp_path / "s.wav", hissing(speechlike(6.0))), toy_scorer)
    human = examined(write_audio(tmp_path / "h.wav", muffled(speechlike(6.0))), toy_scorer)

    assert spoof.verdict is Verdict.DEEPFAKE
    assert human.verdict is Verdict.AUTHENTIC
    assert spoof.score is not None
    assert human.score is not None
    assert spoof.score > human.score


def test_the_figures_belong_together(tmp_path: Path, toy_scorer: Scorer) -> None:
    output = examined(write_audio(tmp_path / "a.wav", hissing(speechlike(9.0))), toy_scorer)

    assert output.p_fake is not None
    assert output.llr == toy_scorer.spec.calibration.llr(output.score or 0.0)
    assert output.p_fake == pytest.approx(1 / (1 + np.exp(-output.llr)))
    assert output.confidence == max(output.p_fake, 1 - output.p_fake)
    assert output.duration_s == 9.0
    assert output.signals["duration_s"] == 9.0
    assert [(window.start_s, window.end_s) for window in output.windows] == [(0, 4), (2, 6), (4, 8), (5, 9)]
    assert output.model_version == toy_scorer.spec.model_version
    assert {"decode", "listen", "canonical", "network", "total"} <= output.timings_ms.keys()


def test_the_most_suspicious_stretch_is_found(tmp_path: Path, toy_scorer: Scorer) -> None:
    sound = np.concatenate(
        (muffled(speechlike(12.0, 1)), hissing(speechlike(4.0, 2)), muffled(speechlike(8.0, 3)))
    )

    stretch = examined(write_audio(tmp_path / "a.wav", sound), toy_scorer).most_suspicious

    assert stretch is not None
    assert (stretch.start_s, stretch.end_s) == (12.0, 16.0)


def test_silence_beside_the_speech_changes_nothing_much(tmp_path: Path, toy_scorer: Scorer) -> None:
    speech = hissing(speechlike(8.0))
    silence = np.random.default_rng(0).normal(0, 1e-4, 14 * SAMPLE_RATE_HZ).astype(np.float32)

    alone = examined(write_audio(tmp_path / "a.wav", speech), toy_scorer)
    beside = examined(write_audio(tmp_path / "b.wav", np.concatenate((speech, silence))), toy_scorer)

    assert beside.verdict is alone.verdict
    assert beside.score == pytest.approx(alone.score, abs=0.5)


def test_the_prior_moves_the_probability_and_not_the_evidence(tmp_path: Path, toy_scorer: Scorer) -> None:
    path = write_audio(tmp_path / "a.wav", speechlike(4.0))

    even, rare = examined(path, toy_scorer), examined(path, toy_scorer, prior=0.01)

    assert (even.score, even.llr) == (rare.score, rare.llr)
    assert rare.p_fake is not None
    assert even.p_fake is not None
    assert rare.p_fake < even.p_fake
    assert rare.explanations[0].startswith("AUTHENTIC at the stated prior of 1.0 %")
    assert even.verdict is Verdict.SUSPICIOUS
    assert rare.explanations[2:] == even.explanations[2:]  # the first states the verdict, the second a probability


def test_stretches_go_by_the_evidence_and_not_by_the_prior(tmp_path: Path, toy_scorer: Scorer) -> None:
    sound = np.concatenate(
        (muffled(speechlike(12.0, 1)), hissing(speechlike(4.0, 2)), muffled(speechlike(8.0, 3)))
    )
    path = write_audio(tmp_path / "a.wav", sound)

    marked = [examined(path, toy_scorer, prior=prior).grounds for prior in (0.001, 0.5, 0.999)]

    places = [[(s.start_s, s.end_s, s.llr) for s in found.stretches] for found in marked if found is not None]
    assert places[0] == places[1] == places[2] != []


def test_an_abstention_claims_no_probability_for_its_windows_either(tmp_path: Path, toy_scorer: Scorer) -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, 8 * SAMPLE_RATE_HZ).astype(np.float32)

    output = examined(write_audio(tmp_path / "a.wav", noise), toy_scorer)

    assert output.abstentions
    assert [(window.llr, window.p_fake) for window in output.windows] == [(None, None)] * 3
    assert all(np.isfinite(window.score) for window in output.windows)


def test_no_band_is_wider_than_the_file_can_hold(tmp_path: Path, toy_scorer: Scorer) -> None:
    path = write_audio(tmp_path / "a.wav", hissing(speechlike(6.0)), codec="pcm_mulaw", rate_hz=8_000)

    signals = examined(path, toy_scorer).signals

    assert signals["bandwidth_hz"] == 4_000.0
    assert signals["cutoff_hz"] is not None
    assert signals["cutoff_hz"] <= 4_000.0


def test_the_batch_size_does_not_matter(tmp_path: Path, toy_scorer: Scorer) -> None:
    path = write_audio(tmp_path / "a.wav", speechlike(13.0))

    one, many = examined(path, toy_scorer, batch_windows=1), examined(path, toy_scorer, batch_windows=5)

    np.testing.assert_allclose(
        [window.score for window in one.windows], [window.score for window in many.windows], atol=1e-5
    )


def test_the_same_recording_gives_the_same_output(tmp_path: Path, toy_scorer: Scorer) -> None:
    path = write_audio(tmp_path / "a.m4a", speechlike(9.0), codec="aac", rate_hz=44_100)

    first, second = examined(path, toy_scorer), examined(path, toy_scorer)

    assert (first.score, first.windows, first.signals) == (second.score, second.windows, second.signals)
    assert first.explanations == second.explanations


def test_progress_is_told_up_to_the_end(tmp_path: Path, toy_scorer: Scorer) -> None:
    told: list[tuple[float, float | None]] = []
    path = write_audio(tmp_path / "a.wav", speechlike(13.0))

    examine(path, toy_scorer, ExamineOptions(batch_windows=2), lambda *progress: told.append(progress))

    done = [done_s for done_s, _ in told]
    assert done == sorted(done)
    assert len(done) > 2
    assert told[-1] == (13.0, 13.0)


def test_a_voice_message_of_a_second_and_a_half_is_judged(tmp_path: Path, toy_scorer: Scorer) -> None:
    path = write_audio(tmp_path / "a.opus", speechlike(1.5), codec="libopus", rate_hz=48_000)

    output = examined(path, toy_scorer)

    assert output.abstentions == ()
    assert output.p_fake is not None
    assert len(output.windows) == 1


def test_a_telephone_recording_is_judged_with_a_reservation(tmp_path: Path, toy_scorer: Scorer) -> None:
    path = write_audio(tmp_path / "a.amr", speechlike(5.0), codec="libopencore_amrnb", rate_hz=8_000)

    output = examined(path, toy_scorer)

    assert output.abstentions == ()
    assert any("telephone" in sentence for sentence in output.explanations)


def test_six_channels_at_48_khz_are_judged_like_one_at_16(tmp_path: Path, toy_scorer: Scorer) -> None:
    plain = examined(write_audio(tmp_path / "a.wav", speechlike(5.0)), toy_scorer)
    surround = examined(write_audio(tmp_path / "b.wav", speechlike(5.0), rate_hz=48_000, layout="5.1"), toy_scorer)

    assert surround.media is not None
    assert surround.media.channels == 6
    assert surround.abstentions == ()
    assert surround.score == pytest.approx(plain.score, abs=0.2)


def test_a_film_without_sound_is_an_abstention(tmp_path: Path, toy_scorer: Scorer) -> None:
    output = examined(write_silent_film(tmp_path / "a.mp4"), toy_scorer)

    assert output.abstentions == (Abstention.NO_AUDIO_TRACK,)
    assert (output.verdict, output.confidence, output.duration_s) == (Verdict.SUSPICIOUS, 0.0, None)


@pytest.mark.parametrize(
    "sound",
    [np.zeros(64_000, np.float32), np.random.default_rng(0).normal(0, 0.1, 64_000).astype(np.float32)],
    ids=["silence", "noise"],
)
def test_without_speech_nothing_is_claimed(tmp_path: Path, toy_scorer: Scorer, sound: Samples) -> None:
    output = examined(write_audio(tmp_path / "a.wav", sound), toy_scorer)

    assert output.abstentions == (Abstention.NO_SPEECH,)
    assert (output.verdict, output.confidence) == (Verdict.SUSPICIOUS, 0.0)
    assert (output.p_fake, output.llr, output.most_suspicious) == (None, None, None)


@pytest.mark.parametrize("duration_s", [0.01, 0.3, 0.7])
def test_too_short_is_an_abstention(tmp_path: Path, toy_scorer: Scorer, duration_s: float) -> None:
    output = examined(write_audio(tmp_path / "a.wav", speechlike(duration_s)), toy_scorer)

    assert Abstention.TOO_SHORT in output.abstentions
    assert output.confidence == 0.0


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ({"min_duration_s": 60.0}, Abstention.TOO_SHORT),
        ({"min_speech_s": 60.0}, Abstention.TOO_SHORT),
        ({"min_snr_db": 89.0}, Abstention.TOO_NOISY),
        ({"min_level_dbfs": -3.0}, Abstention.TOO_NOISY),
        ({"min_bandwidth_hz": 9_000.0}, Abstention.BAND_TOO_NARROW),
        ({"max_ood_distance": 0.0}, Abstention.OUT_OF_DISTRIBUTION),
    ],
)
def test_the_specs_limits_decide_but_the_raw_score_stays(
    tmp_path: Path, limit: dict[str, float], reason: Abstention
) -> None:
    loose = {
        "min_duration_s": 0.0, "min_speech_s": 0.0, "min_level_dbfs": -120.0, "min_snr_db": -90.0,
        "min_bandwidth_hz": 0.0, "max_ood_distance": 1e9,
    }  # fmt: skip
    scorer = load_scorer(write_toy_model(tmp_path, limits=SuitabilityLimits(**{**loose, **limit})))

    output = examined(write_audio(tmp_path / "a.wav", speechlike(4.0)), scorer)

    assert output.abstentions == (reason,)
    assert (output.verdict, output.p_fake, output.confidence) == (Verdict.SUSPICIOUS, None, 0.0)
    assert output.score is not None


def test_text_called_wav_is_an_error(tmp_path: Path, toy_scorer: Scorer) -> None:
    path = tmp_path / "a.wav"
    path.write_text("Dear Sir or Madam,\n" * 30)

    with pytest.raises(UnreadableMediaError, match=r"a\.wav is no recording"):
        examined(path, toy_scorer)


def test_an_empty_file_is_an_error(tmp_path: Path, toy_scorer: Scorer) -> None:
    path = tmp_path / "a.wav"
    path.touch()

    with pytest.raises(EmptyMediaError):
        examined(path, toy_scorer)


def test_damage_is_told_with_the_finding(tmp_path: Path, toy_scorer: Scorer) -> None:
    path = write_audio(tmp_path / "a.m4a", speechlike(9.0), codec="aac", rate_hz=44_100)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 3_000] = np.random.default_rng(1).bytes(3_000)
    path.write_bytes(content)

    output = examined(path, toy_scorer)

    assert output.p_fake is not None
    assert any("damaged packet" in warning for warning in output.warnings)


MEASURE_GROWTH = """
import resource, sys
from pathlib import Path
from earwitness.pipeline import examine
from earwitness.scorer import load_scorer
scorer = load_scorer(Path(sys.argv[1]))
peaks = []
for name in sys.argv[2:]:
    output = examine(Path(name), scorer)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(len(output.windows), output.duration_s, peaks[1] - peaks[0])
"""


def growth_kib(model: Path, short: Path, long: Path) -> tuple[int, float, int]:
    """Windows and duration of the long recording, and how much higher it drove the peak memory than the short."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE_GROWTH, str(model), str(short), str(long)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    windows, duration_s, growth = done.stdout.split()
    return int(windows), float(duration_s), int(growth)


@pytest.mark.parametrize("minutes", [3, pytest.param(180, marks=[pytest.mark.slow, pytest.mark.timeout(1_800)])])
def test_a_long_recording_takes_constant_memory(tmp_path: Path, toy_model: Path, minutes: int) -> None:
    """As samples three minutes are 11 MiB, and three hours 690 MB; what may grow is a few hundred bytes a window."""
    sound = speechlike(30.0)
    short = write_audio(tmp_path / "s.wav", repeated(sound, 20.0), codec="pcm_u8", rate_hz=8_000)
    long = write_audio(tmp_path / "l.wav", repeated(sound, minutes * 60.0), codec="pcm_u8", rate_hz=8_000)

    windows, duration_s, growth = growth_kib(toy_model, short, long)

    assert duration_s == minutes * 60.0
    assert windows == minutes * 15  # without overlap
    assert growth < 6 * 1024 + windows


def test_stretches_are_weighed_against_chance_at_the_hop_that_the_recording_had(
    tmp_path: Path,
) -> None:
    """Half of each recording hisses, which the toy takes for synthesis."""
    overlapping, apart = StretchChance(2.0, 3.0, 0.05), StretchChance(4.0, 6.0, 0.05)
    scorer = load_scorer(write_toy_model(tmp_path, stretch_chance=(overlapping, apart)))
    for length_s, chance in ((20.0, overlapping), (40.0, apart)):
        sound = repeated(muffled(speechlike(10.0)), length_s)
        half = sound.size // 2
        sound[:half] = hissing(repeated(speechlike(10.0), length_s))[:half]
        grounds = examined(write_audio(tmp_path / "a.wav", sound), scorer).grounds
        assert grounds is not None
        assert grounds.stretches
        weighed = grounds.by_chance
        assert weighed is not None
        assert StretchChance(weighed.hop_s, weighed.per_minute, weighed.decay) == chance
        assert 0.5 * length_s < 60.0 * weighed.minutes <= length_s
        for stretch in grounds.stretches:
            assert stretch.weight is not None
            assert stretch.expected_by_chance == chance.expected(stretch.weight, weighed.minutes)


def test_without_a_finding_nothing_is_weighed(tmp_path: Path) -> None:
    chance = StretchChance(2.0, 3.0, 0.05)
    scorer = load_scorer(write_toy_model(tmp_path, stretch_chance=(chance,)))
    silence = examined(write_audio(tmp_path / "s.wav", np.zeros(80_000, np.float32)), scorer)
    assert silence.grounds is not None
    assert silence.grounds.by_chance is None


def test_a_long_recording_is_judged_alike_without_overlap(tmp_path: Path, toy_scorer: Scorer) -> None:
    path = write_audio(tmp_path / "a.wav", hissing(repeated(speechlike(30.0), 62.0)))

    overlapping, apart = examined(path, toy_scorer, long_recording_s=100.0), examined(path, toy_scorer)

    assert [window.start_s for window in apart.windows] == [*range(0, 60, 4), 58.0]
    assert len(overlapping.windows) == 30
    assert apart.verdict is overlapping.verdict
    assert apart.score == pytest.approx(overlapping.score, abs=0.1)
    assert apart.grounds is not None
    assert apart.grounds.stretches
    assert as_used(method_from_spec(toy_scorer.spec), apart.windows).hop_s == 4.0
    assert as_used(method_from_spec(toy_scorer.spec), overlapping.windows).hop_s == 2.0
