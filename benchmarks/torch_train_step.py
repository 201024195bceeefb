"""Times the pretraining step in PyTorch, for `train_step.py`; a program without TensorFlow.

    python benchmarks/torch_train_step.py DEPTH IMAGE_SIZE BATCH PRECISION STEPS

The same network, batch and loss: NT-Xent of two views, channels_last, plain SGD with momentum, and in
bfloat16 autocast. Prints the seconds of each step after the warm-up as JSON.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time

import torch  # pyright: ignore[reportMissingImports] # in the extra `bench`, not in the lock
from torch import Tensor  # pyright: ignore[reportMissingImports]
from torch.nn import functional  # pyright: ignore[reportMissingImports]
from torch_resnet import TorchSimCLR

WARM_UP_STEPS = 2
TEMPERATURE = 0.1


def nt_xent(z: Tensor) -> Tensor:
    """The loss of [2N, D] projections, all first views first; both directions added."""
    z = functional.normalize(z.float(), dim=1)
    n = z.shape[0] // 2
    logits = (z @ z.T / TEMPERATURE).masked_fill(torch.eye(2 * n, dtype=torch.bool), -1e9)
    partners = torch.arange(2 * n).roll(n)
    return 2 * functional.cross_entropy(logits, partners)


def step_times(depth: int, size: int, batch: int, precision: str, steps: int) -> list[float]:
    """Seconds of each step."""
    network = TorchSimCLR(depth, cifar=size <= 32).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    views = torch.rand(2 * batch, 3, size, size).to(memory_format=torch.channels_last)
    autocast = (
        torch.autocast("cpu", torch.bfloat16) if precision == "mixed_bfloat16" else contextlib.nullcontext()
    )

    def step() -> float:
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with autocast:
            z = network(views)["proj_head_3"]
        loss = nt_xent(z)
        loss.backward()
        optimizer.step()
        loss.item()
        return time.perf_counter() - start

    for _ in range(WARM_UP_STEPS):
        step()
    return [step() for _ in range(steps)]


if __name__ == "__main__":
    depth, size, batch = map(int, sys.argv[1:4])
    print(json.dumps(step_times(depth, size, batch, sys.argv[4], int(sys.argv[5]))))
