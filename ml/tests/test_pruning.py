"""Fewer neurons that say what all of them said."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.models.encoders import BORROWED, MELS
from ml.models.pruning import prune
from ml.models.recogniser import Block, Encoder

TINY = BORROWED["tiny"]
CLIPS = [torch.randn(1, 1, MELS, 600, generator=torch.Generator().manual_seed(seed)) for seed in range(4)]


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


def pruned(whole: Encoder, hidden: int) -> tuple[Encoder, list[float]]:
    encoder = Encoder(TINY, 2, hidden).eval()
    return encoder, prune(encoder, whole, lambda: [whole(clip) for clip in CLIPS[:3]])


def test_neurons_that_never_change_go_first_and_what_they_add_stays() -> None:
    whole = made()
    with torch.no_grad():
        for block in blocks(whole):
            block.wide.weight[500:] = 0.0  # these say the same whatever comes in, and say it loudly
            block.wide.bias[500:] = 2.0
    encoder, lost = pruned(whole, 500)
    assert max(lost) < 1e-4
    for ours, theirs in zip(heard(encoder, CLIPS[3]), heard(whole, CLIPS[3]), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-3 * float(theirs.abs().max()))


def test_what_two_neurons_say_alike_one_of_them_says_for_both() -> None:
    whole = made()
    with torch.no_grad():
        for block in blocks(whole):
            for part in (block.wide.weight, block.wide.bias):
                part[:768].copy_(part[768:])
    encoder, lost = pruned(whole, 900)  # of 768 pairs; the first to stay are not one of each
    assert max(lost) < 0.2
    untouched = Encoder(TINY, 2, 900).eval()
    untouched.take(whole.state_dict())
    missed = [
        float((one - theirs).square().mean() / (theirs - theirs.mean(1, keepdim=True)).square().mean())
        for one, theirs in (
            (heard(encoder, CLIPS[3])[1], heard(whole, CLIPS[3])[1]),
            (heard(untouched, CLIPS[3])[1], heard(whole, CLIPS[3])[1]),
        )
    ]
    assert missed[0] < 0.5 * missed[1], "nearer than with the weights as they were"


def test_the_share_that_is_told_is_what_is_lost() -> None:
    whole = made()
    encoder, lost = pruned(whole, 400)
    inputs: list[Tensor] = []
    hook = blocks(whole)[0].norm.register_forward_hook(lambda _module, _given, said: inputs.append(said[0]))
    for clip in CLIPS[:3]:
        heard(whole, clip)
    hook.remove()

    def added(block: Block) -> Tensor:
        with torch.no_grad():
            said: Tensor = block.narrow(F.gelu(block.wide(torch.cat(inputs))))
        return said

    wanted = added(blocks(whole)[0])
    missed = (added(blocks(encoder)[0]) - wanted).square().mean(0) / wanted.var(0)
    assert abs(float(missed.mean()) - lost[0]) < 0.01
    assert 0.01 < lost[0] < 0.9
