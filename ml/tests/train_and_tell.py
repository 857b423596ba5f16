"""Not a test: what one process of a training hears and does, step by step, written down. Run by torchrun.

python -m torch.distributed.run --nproc-per-node 2 -m ml.tests.train_and_tell FOLDER --config ... --max_steps 2

Leaves `FOLDER/rankN.pt`: for each step the waveforms, the weights before it, the gradients after averaging and
clipping, and the weights after it.
"""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from ml.training.__main__ import main
from ml.training.train import Trainable


def tell(out: Path, arguments: list[str]) -> int:
    steps: list[dict[str, Any]] = []

    def hears(module: nn.Module, inputs: Any) -> None:
        if isinstance(module, Trainable):
            steps.append({"waveforms": inputs[0].clone()})

    def weights(optimiser: Optimizer) -> list[torch.Tensor]:
        return [p.detach().clone() for group in optimiser.param_groups for p in group["params"]]

    def before(optimiser: Optimizer, *_: object) -> None:
        steps[-1]["before"] = weights(optimiser)
        steps[-1]["gradients"] = [
            p.grad.clone() for group in optimiser.param_groups for p in group["params"] if p.grad is not None
        ]

    def after(optimiser: Optimizer, *_: object) -> None:
        steps[-1]["after"] = weights(optimiser)
        torch.save(steps, out / f"rank{os.environ['RANK']}.pt")

    nn.modules.module.register_module_forward_pre_hook(hears)
    register_optimizer_step_pre_hook(before)
    register_optimizer_step_post_hook(after)
    return main(arguments)


if __name__ == "__main__":
    sys.exit(tell(Path(sys.argv[1]), sys.argv[2:]))
