"""Fewer neurons, heads and channels that say what all of them said."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.models import pruning
from ml.models.encoders import BORROWED, MELS
from ml.models.pruning import prune
from ml.models.recogniser import Block, Encoder

TINY = BORROWED["tiny"]
CLIPS = [torch.randn(1, 1, MELS, 600, generator=torch.Generator().manual_seed(seed)) for seed in range(14)]
FEW, MANY = CLIPS[:3], CLIPS[:13]


def made() -> Encoder:
    torch.manual_seed(5)
    encoder = Encoder(TINY, 2, TINY.hidden).eval()
    nn.init.normal_(encoder.first.weight)  # what is heard says more than its place
    nn.init.normal_(encoder.second.weight)
    return encoder


def blocks(encoder: Encoder) -> list[Block]:
    return [block for block in encoder.blocks if isinstance(block, Block)]


def heard(encoder: Encoder, clip: Tensor) -> list[Tensor]:
    with torch.no_grad():
        layers: list[Tensor] = encoder(clip)
    return layers


def pruned(
    whole: Encoder, clips: list[Tensor] = FEW, hidden: int = 0, heads: int = 0, channels: int = 0
) -> tuple[Encoder, dict[str, float]]:
    encoder = Encoder(TINY, 2, hidden, heads=heads, channels=channels).eval()
    return encoder, prune(encoder, whole, lambda: [whole(clip) for clip in clips])


def same(encoder: Encoder, whole: Encoder) -> bool:
    """On a clip that the pruning didn't hear."""
    return all(
        torch.allclose(ours, theirs, atol=1e-3 * float(theirs.abs().max()))
        for ours, theirs in zip(heard(encoder, CLIPS[-1]), heard(whole, CLIPS[-1]), strict=True)
    )


def test_neurons_that_never_change_go_first_and_what_they_add_stays() -> None:
    whole = made()
    with torch.no_grad():
        for block in blocks(whole):
            block.wide.weight[500:] = 0.0  # these say the same whatever comes in, and say it loudly
            block.wide.bias[500:] = 2.0
    encoder, lost = pruned(whole, hidden=500)
    assert lost.keys() == {"blocks.0.narrow", "blocks.1.narrow"} and max(lost.values()) < 1e-4
    assert same(encoder, whole)


def test_an_output_that_never_changes_loses_nothing_and_hides_no_choice() -> None:
    whole = made()
    with torch.no_grad():
        for block in blocks(whole):
            block.out.weight[7] = 0.0
            block.value.weight[:128] = 0.0  # nor do two heads
    encoder, lost = pruned(whole, heads=4)
    assert max(lost.values()) < 1e-4
    assert same(encoder, whole)


@pytest.mark.parametrize("choices", [pruning.CHOICES, 0])
def test_heads_that_never_change_go_first_and_what_they_add_stays(
    choices: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether every choice is tried or each head is weighed."""
    monkeypatch.setattr(pruning, "CHOICES", choices)
    whole = made()
    with torch.no_grad():
        for block in blocks(whole):
            for head in (1, 4):
                block.value.weight[64 * head : 64 * (head + 1)] = 0.0
                block.value.bias[64 * head : 64 * (head + 1)] = 2.0
    encoder, lost = pruned(whole, heads=4)
    assert lost.keys() == {"blocks.0.out", "blocks.1.out"} and max(lost.values()) < 1e-4
    assert same(encoder, whole)
    _, lost = pruned(whole, heads=3)
    assert min(lost.values()) > 0.01


def test_an_encoder_that_leaves_frames_out_is_pruned_by_all_of_them() -> None:
    whole = made()
    nn.init.normal_(whole.places, std=0.1)
    encoder = Encoder(TINY, 2, heads=5, step=2).eval()
    lost = prune(encoder, whole, lambda: [whole(clip) for clip in FEW])
    every = Encoder(TINY, 2, heads=5).eval()
    assert prune(every, whole, lambda: [whole(clip) for clip in FEW]) == lost
    assert torch.allclose(heard(encoder, CLIPS[-1])[0], heard(every, CLIPS[-1])[0][:, ::2], atol=1e-4)


def test_of_two_heads_that_say_the_same_one_says_it_for_both() -> None:
    whole = made()
    with torch.no_grad():
        for block in blocks(whole):
            for layer in (block.query, block.key, block.value):
                for value in layer.parameters():
                    value[5 * 64 :].copy_(value[2 * 64 : 3 * 64])
    encoder, lost = pruned(whole, heads=5)
    assert max(lost.values()) < 1e-3
    assert same(encoder, whole)


def test_channels_that_say_nothing_go_first() -> None:
    whole = made()
    silent = torch.randperm(TINY.width, generator=torch.Generator().manual_seed(1))[250:]
    with torch.no_grad():
        whole.first.weight[silent] = 0.0
        whole.first.get_parameter("bias")[silent] = -20.0
    encoder, lost = pruned(whole, MANY, channels=250)
    assert lost.keys() == {"second"} and lost["second"] < 1e-4
    assert same(encoder, whole)
    _, lost = pruned(whole, MANY, channels=150)
    assert lost["second"] > 0.01


def test_what_a_convolution_hears_is_what_it_is_pruned_by() -> None:
    """Taps in their order, edges and stride included."""
    whole = made()
    said: list[Tensor] = []
    hook = whole.second.register_forward_hook(lambda _module, _given, out: said.append(out))
    encoder, lost = pruned(whole, MANY, channels=200)
    hook.remove()
    wanted = torch.cat(said, dim=2)
    again: list[Tensor] = []
    encoder.second.register_forward_hook(lambda _module, _given, out: again.append(out))
    for clip in MANY:
        heard(encoder, clip)
    missed = (torch.cat(again, dim=2) - wanted).square().mean((0, 2)) / wanted.var((0, 2))
    assert abs(float(missed.mean()) - lost["second"]) < 0.01
    assert 0.01 < lost["second"] < 0.9


def test_what_two_neurons_say_alike_one_of_them_says_for_both() -> None:
    whole = made()
    with torch.no_grad():
        for block in blocks(whole):
            for part in (block.wide.weight, block.wide.bias):
                part[:768].copy_(part[768:])
    encoder, lost = pruned(whole, hidden=900)  # of 768 pairs; the first to stay are not one of each
    assert max(lost.values()) < 0.2
    untouched = Encoder(TINY, 2, 900).eval()
    untouched.take(whole.state_dict())
    missed = [
        float((one - theirs).square().mean() / (theirs - theirs.mean(1, keepdim=True)).square().mean())
        for one, theirs in (
            (heard(encoder, CLIPS[-1])[1], heard(whole, CLIPS[-1])[1]),
            (heard(untouched, CLIPS[-1])[1], heard(whole, CLIPS[-1])[1]),
        )
    ]
    assert missed[0] < 0.5 * missed[1], "nearer than with the weights as they were"


def test_the_share_that_is_told_is_what_is_lost() -> None:
    whole = made()
    encoder, lost = pruned(whole, hidden=400)
    inputs: list[Tensor] = []
    hook = blocks(whole)[0].norm.register_forward_hook(lambda _module, _given, said: inputs.append(said[0]))
    for clip in FEW:
        heard(whole, clip)
    hook.remove()

    def added(block: Block) -> Tensor:
        with torch.no_grad():
            said: Tensor = block.narrow(F.gelu(block.wide(torch.cat(inputs))))
        return said

    wanted = added(blocks(whole)[0])
    missed = (added(blocks(encoder)[0]) - wanted).square().mean(0) / wanted.var(0)
    assert abs(float(missed.mean()) - lost["blocks.0.narrow"]) < 0.01
    assert 0.01 < lost["blocks.0.narrow"] < 0.9
