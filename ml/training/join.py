"""`python -m ml.training.join`: networks that were trained apart become members of one.

    python -m ml.training.join --config ml/experiments/duet.toml --manifest runs/manifests/earcorpus.csv \\
        --weights 1 1 --out runs/duet-seed1 runs/placed-seed1 runs/listener_light-seed1
    python -m ml.training.join --config ml/experiments/trio.toml --manifest runs/manifests/earcorpus.csv \\
        --weights 1 1 6 --out runs/trio-seed1 \\
        runs/placed-seed1 models/audio/accurate.onnx#1 runs/listener_base-seed1

A source for each member of the experiment's network, in order: a run's folder (its averaged weights at the end), one of
its checkpoints (`RUN/best.pt`), or a graph that was shipped, whose run is no longer there; `#N` names one member of
several. `SOURCE+OTHER` takes what gives the frame scores from OTHER: heads of the clip may be new while the layers that
both read have stayed.
Scores of the members are brought to the spread of the first one's over the held-out clips, which asks for no labels:
their mean is then a vote of equals, or as `--weights` says. Frame scores keep their size, and reports add them to the
score of the window: the first source is to be what they were trained beside, as it was then, and not a member of a
joined graph, whose scores have been brought to another size.
Leaves a checkpoint like that of a finished run. Exit codes: 0 done, 2 a source can't be used.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from earwitness.canonical import canonicalise
from earwitness.model_spec import file_sha256
from earwitness.waveform import Samples
from ml.config import ConfigError, load_experiment
from ml.datasets.errors import DatasetError
from ml.evaluation.metrics import equal_error_rate, roc_auc
from ml.export.graph import read_bounds
from ml.models import build_network
from ml.models.heads import Member, SpoofNetwork
from ml.models.recogniser import RecogniserMember
from ml.models.whole_numbers import weight_of, weights_of
from ml.training.checkpoint import load
from ml.training.inference import heldout_scores, judge_waveforms
from ml.training.store import WaveformStore
from ml.training.train import CHECKPOINT_NAME, leave_run, provenance, split_clips, training_clips

JOINED_KEY = "joined_from"
"""Of a run's provenance: where each member came from."""
WEIGHTS_KEY = "joined_with_weights"
SPREAD_FLOOR = 1e-6
NORM_CLIPS = 256  # a quarter of a minute of a core


def take(member: Member, source: str) -> dict[str, object]:
    """Give `member` the weights of `source`; what the provenance says of it. ConfigError where they don't fit."""
    whole, _, frames = source.partition("+")
    wanted = member.state_dict(keep_vars=True)
    if not frames:
        return _take(member, whole, list(wanted))
    of_frames = {id(value) for part in member.frame_parts() for value in part.state_dict(keep_vars=True).values()}
    told = _take(member, whole, [name for name, value in wanted.items() if id(value) not in of_frames])
    told["frames"] = _take(member, frames, [name for name, value in wanted.items() if id(value) in of_frames])
    return told


def _take(member: Member, source: str, names: Sequence[str]) -> dict[str, object]:
    """Of `source` the weights of these names."""
    name, _, number = source.partition("#")
    path, stem = Path(name), f"members.{int(number or 0)}."
    if path.suffix == ".onnx":
        if not path.is_file():
            raise ConfigError(f"no graph at {path}")
        found = read_graph(path, stem, member)
        told: dict[str, object] = {"graph_sha256": file_sha256(path)}
    else:
        saved = load(path if path.suffix == ".pt" else path / CHECKPOINT_NAME)
        found = {key.removeprefix(stem): v for key, v in saved.averaged_weights.items() if key.startswith(stem)}
        told = {"experiment": saved.experiment.name, "steps": saved.step, "provenance": saved.provenance}
    wanted = {key: value for key, value in member.state_dict().items() if key in names}
    if missing := wanted.keys() - found.keys():
        raise ConfigError(f"{source} has no {min(missing)}: it is another network than this member")
    for key, value in wanted.items():
        if found[key].shape != value.shape:
            raise ConfigError(f"{source}: {key} is {tuple(found[key].shape)}, this member's {tuple(value.shape)}")
    member.load_state_dict(member.state_dict() | {key: found[key] for key in wanted})
    return told | {"source": source}


def read_graph(path: Path, stem: str, member: Member) -> dict[str, Tensor]:
    """The weights of one member by their names in PyTorch, out of an exported graph.

    The export folds a batch normalisation into the layer before it and leaves its bias beside the weight; the
    normalisation is then given back as one that adds that bias and does nothing else.
    """
    model = onnx.load(path)
    graph = model.graph
    everything = {value.name: numpy_helper.to_array(value) for value in graph.initializer}
    for node in graph.node:
        if node.op_type == "BatchNormalization":
            norm = node.input[1].removesuffix(".weight")
            for part, name in zip(("bias", "running_mean", "running_var"), node.input[2:], strict=True):
                if name in everything:  # of constants that are alike the exporter keeps one, under one's name
                    everything.setdefault(f"{norm}.{part}", everything[name])
    constants: dict[str, NDArray[np.float32]] = {
        name.removeprefix(stem): value for name, value in everything.items() if name.startswith(stem)
    }
    for name in [key.removesuffix(".numbers") for key in constants if key.endswith(".numbers")]:
        constants[name] = constants[f"{name}.numbers"].astype(np.float32) * constants[f"{name}.scale"]
    found = {name: torch.from_numpy(value.copy()) for name, value in constants.items()}
    for name, weight in weights_of(member).items():
        if f"{name}.columns" in found:
            columns, scale = found[f"{name}.columns"], found[f"{name}.scale"]
            found[f"{name}.weight"] = weight_of(columns, scale, weight.shape)
    found |= {
        name.removeprefix(stem): bound for name, bound in read_bounds(model).items() if name.startswith(stem)
    }
    for place, sequence in member.named_modules():
        if not isinstance(sequence, nn.Sequential):
            continue
        for (before, _), (after, norm) in pairwise(sequence.named_children()):
            key = f"{place}.{after}"
            if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) and f"{key}.weight" not in found:
                nothing = torch.zeros(norm.num_features)
                found[f"{key}.weight"] = torch.ones(norm.num_features)
                found[f"{key}.bias"] = found.get(f"{place}.{before}.weight_bias", nothing)
                found[f"{key}.running_mean"] = nothing
                found[f"{key}.running_var"] = torch.full((norm.num_features,), 1.0 - norm.eps)
    counts = {name: value for name, value in member.state_dict().items() if name.endswith("num_batches_tracked")}
    return counts | found


@torch.no_grad()
def restore_norms(member: Member, waveforms: Sequence[Samples]) -> None:
    """Give back to normalisations that were folded away the mean and spread of what they get, as after training.

    What the member says of a recording stays as it is; only so can training go on from it, which normalises by the
    batch. `waveforms`: some hundred training clips.
    """
    folded = {
        name: module
        for name, module in member.named_modules()
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
        and module.affine
        and bool((module.weight == 1.0).all())
        and not bool(module.get_buffer("running_mean").any())
    }
    sums = {name: torch.zeros(3, module.num_features, dtype=torch.float64) for name, module in folded.items()}

    def listen(name: str) -> Callable[[nn.Module, tuple[Tensor]], None]:
        def heard(_module: nn.Module, given: tuple[Tensor]) -> None:
            values = given[0].transpose(0, 1).flatten(1).double()
            sums[name] += torch.stack(
                [values.sum(1), values.square().sum(1), torch.full((len(values),), values.shape[1]).double()]
            )

        return heard

    hooks = [module.register_forward_pre_hook(listen(name)) for name, module in folded.items()]
    member.eval()
    for waveform in waveforms:
        member(torch.from_numpy(canonicalise(waveform).samples)[None])
    for hook in hooks:
        hook.remove()
    for name, module in folded.items():
        mean, square = sums[name][0] / sums[name][2], sums[name][1] / sums[name][2]
        variance = (square - mean.square()).clamp(min=0.0)
        module.get_buffer("running_mean").copy_(mean)
        module.get_buffer("running_var").copy_(variance)
        module.weight.copy_((variance + module.eps).sqrt())
        module.bias.add_(mean.float())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ml.training.join",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, required=True, help="an experiment whose network is put together")
    parser.add_argument("--manifest", help="instead of the experiment's")
    parser.add_argument("--out", type=Path, required=True, help="the new run's folder")
    parser.add_argument(
        "--weights",
        type=float,
        nargs="+",
        help="of the members' votes, one each (default: every vote counts alike)",
    )
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="RUN or GRAPH.onnx, with #N where it is one of several members; +OTHER for the frame scores",
    )
    options = parser.parse_args(arguments)
    try:
        data = {} if options.manifest is None else {"data.manifest": options.manifest}
        experiment = load_experiment(options.config, data)
        network, _ = build_network(experiment.architecture, experiment.model)
        count = len(network.members)
        weights = np.array(options.weights or [1.0] * count)
        if len(options.sources) != count:
            raise ConfigError(f"{options.config} has {count} members: name a source for each")
        if len(weights) != count or weights.min() <= 0.0:
            raise ConfigError(f"--weights needs a number above 0 for each of {count} members")
        came_from = [
            take(member, source)  # type: ignore[arg-type]  # a ModuleList holds modules
            for member, source in zip(network.members, options.sources, strict=True)
        ]
        clips, split = split_clips(experiment)
        cache = Path(experiment.data.cache_dir)
        trained = WaveformStore.open_or_build(training_clips(experiment, clips, split), cache)
        heldout = WaveformStore.open_or_build([clips[i] for i in split.heldout], cache)
    except (ConfigError, DatasetError, FileNotFoundError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    stride = max(1, len(trained.clips) // NORM_CLIPS)
    listened = [trained.waveform(i) for i in range(0, len(trained.clips), stride)]
    for member, told in zip(network.members, came_from, strict=True):
        if "graph_sha256" in told or "frames" in told:
            restore_norms(member, listened)  # type: ignore[arg-type]
    for member in network.members:
        if isinstance(member, RecogniserMember):  # of the size of the others': rounding is judged by one limit
            spread = judge_waveforms(SpoofNetwork(member), listened).embedding.std()
            member.scale_embedding(1.0 / max(float(spread), SPREAD_FLOOR))
    scores, is_spoof = heldout_scores(network, heldout)
    factors = scores.std(axis=0)[0] / scores.std(axis=0) * weights / weights.mean()
    for member, factor in zip(network.members, factors, strict=True):
        member.scale_score(float(factor))  # type: ignore[operator]
    scores = scores * factors
    history: dict[str, float] = {"step": float(experiment.train.max_steps)}
    for name, own in (("", scores.mean(axis=1)), *((f"_member{i}", own) for i, own in enumerate(scores.T))):
        history[f"heldout_eer{name}"] = equal_error_rate(own.astype(np.float64), is_spoof)[0]
        history[f"heldout_auc{name}"] = roc_auc(own.astype(np.float64), is_spoof)
        print(f"held out{name}: AUC {history[f'heldout_auc{name}']:.3f}, EER {history[f'heldout_eer{name}']:.1%}")
    told = provenance(experiment, split, trained, heldout)
    told |= {JOINED_KEY: came_from, WEIGHTS_KEY: weights.tolist()}
    leave_run(experiment, network, told, history, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
