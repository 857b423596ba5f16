import numpy as np
import pytest
import torch
from torch import nn

from ml.config import ConfigError
from ml.models import ARCHITECTURES, build_network
from ml.models.frontend import FrontendConfig, LogSpectrogram, constant_q_filters, mel_filters
from ml.models.heads import FrequencyPool, FrequencyRows, LocalFrames, SpoofNetwork
from ml.models.seresnet import PlacedMember, SeResNetConfig, build

KINDS = ("linear", "mel", "constant_q")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frames", [4, 19, 25])
def test_one_frame_score_for_each_frame_hop(architecture: str, kind: str, frames: int) -> None:
    one = {} if architecture in ("raw", "recogniser") else {"frontend": {"kind": kind}}
    network, hop = build_network(architecture, {"members": [one, one]} if architecture == "ensemble" else one)
    scores = network.eval()(torch.randn(2, frames * hop) * 0.05)
    assert scores.score.shape == (2,)
    assert scores.frame_scores.shape == (2, frames)
    assert all(torch.isfinite(part).all() for part in scores)


@pytest.mark.parametrize("pool", ["mean_max", "rows"])
@pytest.mark.parametrize("stem_stride", [2, 3, 4])
def test_every_pool_fits_every_stem(pool: str, stem_stride: int) -> None:
    network, hop = build_network("seresnet", {"pool": pool, "stem_stride": stem_stride})
    assert network.eval()(torch.randn(1, 8 * hop) * 0.05).frame_scores.shape == (1, 8)


def test_only_pooling_by_rows_tells_a_low_place_from_a_high_one() -> None:
    features = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    upside_down = features.flip(2)
    rows, mean_max = FrequencyRows(3, 4, 6).eval(), FrequencyPool(3, 6).eval()
    assert torch.allclose(mean_max(features), mean_max(upside_down), atol=1e-6)
    assert not torch.allclose(rows(features), rows(upside_down), atol=1e-2)


@pytest.mark.parametrize("frames", [1, 2, 7, 24])
def test_local_frames_add_nothing_before_they_have_learnt(frames: int) -> None:
    torch.manual_seed(1)
    network, hop = build_network("seresnet", {"frames": "local"})
    plain, _ = build_network("seresnet", {})
    plain.load_state_dict({k: v for k, v in network.state_dict().items() if ".local." not in k})
    waves = torch.randn(2, frames * hop, generator=torch.Generator().manual_seed(1)) * 0.05
    assert torch.equal(network.eval()(waves).frame_scores, plain.eval()(waves).frame_scores)


def test_a_local_frame_hears_what_stands_out_in_its_clip() -> None:
    torch.manual_seed(1)
    local = LocalFrames([(2, 3), (4, 2)]).eval()
    nn.init.ones_(local.score[-1].weight)  # type: ignore[arg-type]
    maps = [torch.zeros(1, 2, 3, 64), torch.zeros(1, 4, 2, 32)]
    maps[0][..., 32:40] = 1.0
    scores = local(maps)[0]
    assert scores.shape == (16,)
    quiet = scores[2:5]  # away from the edges, and from what stands out
    assert torch.allclose(quiet, quiet[:1].expand(3), atol=1e-5)
    assert (scores[8:10] - quiet[0]).abs().min() > 1e-3


@pytest.mark.parametrize("stages", [2, 3, 4, 5])
@pytest.mark.parametrize("frames", [1, 2, 7, 24])
def test_own_frames_come_as_often_as_those_of_the_last_stage(stages: int, frames: int) -> None:
    shape = {"channels": [4] * stages, "blocks": [1] * stages, "embedding": 8}
    own, hop = build_network("seresnet", shape | {"frames": "own"})
    plain, _ = build_network("seresnet", shape)
    waves = torch.randn(2, frames * hop + 80, generator=torch.Generator().manual_seed(1)) * 0.05
    assert own.eval()(waves).frame_scores.shape == plain.eval()(waves).frame_scores.shape


def test_own_frames_change_no_finding_and_have_no_mean() -> None:
    torch.manual_seed(1)
    network, hop = build_network("seresnet", {"frames": "own"})
    plain, _ = build_network("seresnet", {})
    shared = {k: v for k, v in network.state_dict().items() if ".own." not in k}
    plain.load_state_dict(plain.state_dict() | shared)
    waves = torch.randn(1, 24 * hop, generator=torch.Generator().manual_seed(1)) * 0.05
    scores = network.eval()(waves)
    assert torch.equal(scores.score, plain.eval()(waves).score)
    assert scores.frame_scores.mean().abs() < 1e-6
    assert scores.frame_scores.std() > 1e-4


def test_own_frames_are_compared_with_all_others() -> None:
    torch.manual_seed(1)
    config = SeResNetConfig(frames="own")
    member = build(config).members[0]
    assert isinstance(member, PlacedMember)
    own = member.own.eval()
    spectrogram, (channels, rows) = torch.randn(1, 1, config.frontend.bins, 24 * 16), member.backbone.shapes[-2]
    stage, last = torch.randn(1, channels, rows, 48), torch.randn(1, config.channels[-1], 24)
    other = last.clone()
    other[..., 20:] += 3.0
    moved = (own(spectrogram, stage, other) - own(spectrogram, stage, last))[0, :8]
    assert moved.std() > 1e-4  # not by one number: that is what the mean takes away


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_silence_gives_finite_scores(architecture: str) -> None:
    network, _ = build_network(architecture, {})
    assert all(torch.isfinite(part).all() for part in network.eval()(torch.zeros(1, 64_000)))


@pytest.mark.parametrize("kind", KINDS)
def test_the_front_end_agrees_with_a_fourier_transform(kind: str) -> None:
    config = FrontendConfig(kind=kind, band_hz=(50.0, 8000.0) if kind == "constant_q" else (0.0, 8000.0))
    wave = np.random.default_rng(1).standard_normal(8_000).astype(np.float32) * 0.1
    frontend = LogSpectrogram(config).eval()
    actual = frontend(torch.from_numpy(wave)[None])[0, 0].numpy()
    hann = np.hanning(config.window + 1)[:-1]
    frames = np.lib.stride_tricks.sliding_window_view(wave, config.window)[:: config.hop]
    power = np.abs(np.fft.rfft(frames * hann * 2 / hann.sum(), config.fft)).T ** 2
    if kind == "mel":
        power = mel_filters(config.mels, config.fft, *config.band_hz) @ power
    elif kind == "constant_q":
        inside = slice(*config.bin_range)
        power = constant_q_filters(config.bins, config.fft, *config.band_hz)[:, inside] @ power[inside]
    # The statistics of an untrained normalisation are mean 0, variance 1 (and its own epsilon).
    assert actual == pytest.approx(np.log(power + config.floor_power) / np.sqrt(1 + 1e-5), abs=2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_training_hears_what_is_exported(kind: str) -> None:
    frontend = LogSpectrogram(FrontendConfig(kind=kind, margin=200)).requires_grad_(requires_grad=False)
    frontend.normalise.eval()  # running statistics in both
    waves = torch.randn(3, 16_000, generator=torch.Generator().manual_seed(1)) * 0.05
    waves[2] = 0.0
    trained, exported = frontend(waves), frontend.eval()(waves)
    assert trained.shape == exported.shape
    assert torch.allclose(trained, exported, atol=2e-3)


def test_every_filter_hears_something() -> None:
    assert (mel_filters(80, 512, 60.0, 7600.0).sum(axis=1) > 0).all()
    assert (constant_q_filters(112, 512, 60.0, 7600.0).sum(axis=1) > 0).all()


def test_constant_q_bands_widen_with_their_frequency() -> None:
    filters = constant_q_filters(48, 4096, 500.0, 8000.0)
    width = (filters > 0).sum(axis=1)
    assert width[36] / width[12] == pytest.approx(4.0, rel=0.15)  # 24 bands of 12 an octave higher


def test_bins_outside_the_band_do_not_reach_the_network() -> None:
    config = FrontendConfig(band_hz=(1000.0, 2000.0))
    seconds = torch.arange(16_000) / 16_000
    inside, outside = (torch.sin(2 * torch.pi * hz * seconds)[None] for hz in (1500.0, 4000.0))
    frontend = LogSpectrogram(config).eval()
    assert config.bins == 33  # 1000 to 2000 Hz in steps of 31.25 Hz, both ends in
    assert frontend(inside).amax() > -1.0  # a full-scale sine has power 1
    assert frontend(outside).amax() < -12.0


def test_instance_norm_takes_away_a_filter() -> None:
    rng = np.random.default_rng(2)
    wave = torch.from_numpy(rng.standard_normal(16_000).astype(np.float32) * 0.05)[None]
    filtered = wave - 0.9 * torch.nn.functional.pad(wave, (1, 0))[:, :-1]

    def change(share: float) -> float:
        frontend = LogSpectrogram(FrontendConfig(instance_norm=share)).eval()
        return float((frontend(wave) - frontend(filtered)).abs().mean())

    assert change(1.0) < 0.2 * change(0.0)


def test_an_ensemble_says_the_mean_of_its_members() -> None:
    network, _ = build_network("ensemble", {})
    wave = torch.randn(2, 32_000, generator=torch.Generator().manual_seed(1)) * 0.05
    each, joined = network.eval().each(wave), network(wave)
    assert len(each) == 2
    assert not torch.allclose(each[0].score, each[1].score, atol=1e-6)
    assert torch.allclose(joined.score, (each[0].score + each[1].score) / 2)
    frames = [part.frame_scores for part in each if part.frame_scores is not None]
    torch.testing.assert_close(joined.frame_scores, (frames[0] + frames[1]) / 2)
    assert joined.embedding.shape[1] == sum(one.embedding.shape[1] for one in each)


def test_a_network_without_members_is_refused() -> None:
    with pytest.raises(ValueError, match="member"):
        SpoofNetwork()


@pytest.mark.parametrize(
    ("architecture", "model", "named"),
    [
        ("seresnet", {"frontend": {"kind": "constant_q", "band_hz": [0.0, 7600.0]}}, "octaves"),
        ("conformer", {"width": 10}, "multiple of heads"),
        ("conformer", {"kernel": 4}, "odd"),
        ("raw", {"strides": [4]}, "one entry a stage"),
        ("raw", {"first_stride": 0}, "at least 1"),
        ("resnet", {}, "resnet"),
        ("seresnet", {"depth": 3}, "model.depth"),
        ("seresnet", {"channels": [16], "blocks": [1, 1]}, "one entry a stage"),
        ("seresnet", {"frontend": {"kind": "cqt"}}, "linear, mel or constant_q"),
        ("seresnet", {"frontend": {"band_hz": [3000.0, 100.0]}}, "band_hz"),
        ("seresnet", {"frontend": {"instance_norm": 1.5}}, "instance_norm"),
        ("seresnet", {"frontend": {"floor_power": 0.0}}, "floor_power"),
        ("seresnet", {"stem_stride": 0}, "stem_stride"),
        ("seresnet", {"pool": "max"}, "mean_max or rows"),
        ("seresnet", {"frames": "all"}, "last, local, own or none"),
        ("seresnet", {"frames": "local", "channels": [8], "blocks": [1]}, "before the last"),
        ("seresnet", {"frames": "own", "channels": [8], "blocks": [1]}, "2 to 5 stages"),
        ("ensemble", {"members": []}, "needs members"),
        ("ensemble", {"members": [{}, {"time_stride": 1}]}, "as often"),
        ("ensemble", {"members": [{}, {"frontend": {"margin": 8}}]}, "the same for all members"),
        ("seresnet", {"frontend": {"margin": -1}}, "margin"),
        ("ensemble", {"members": [{"depth": 3}]}, "model.members"),
    ],
)
def test_an_impossible_architecture_is_refused(architecture: str, model: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        build_network(architecture, model)
