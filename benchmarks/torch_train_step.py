"""Times the pretraining step in PyTorch, for `train_step.py`; a program without TensorFlow.

    python benchmarks/torch_train_step.py PEER DEPTH IMAGE_SIZE BATCH PRECISION STEPS

The same network and batch, channels_last, plain SGD with momentum, and in bfloat16 autocast. PEER `torch` has
NT-Xent of both views in one pass, as ours; `lightly` has lightly's NTXentLoss and one pass a view, as its
examples have it. Prints in JSON the seconds of each step after the warm-up, the largest resident size, and
when, as `time.time()` has it, import, building and the first step were done.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
import time
from collections.abc import Callable

import torch  # pyright: ignore[reportMissingImports] # in the extra `bench`, not in the lock
from peak_memory import peak_bytes
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


def loss_of_peer(peer: str) -> Callable[[TorchSimCLR, Tensor], Tensor]:
    """A network and [2N, 3, H, W] views, all first views first, to the loss."""
    if peer == "torch":
        return lambda network, views: nt_xent(network(views)["proj_head_3"])
    criterion = importlib.import_module("lightly.loss").NTXentLoss(temperature=TEMPERATURE)

    def loss(network: TorchSimCLR, views: Tensor) -> Tensor:
        first, second = (network(view)["proj_head_3"] for view in views.chunk(2))
        return criterion(first, second)

    return loss


def step_times(
    peer: str, depth: int, size: int, batch: int, precision: str, steps: int
) -> tuple[list[float], dict[str, float]]:
    """Seconds of each step, and the moments on the way to the first one's end."""
    moments = {"imported": time.time()}
    network = TorchSimCLR(depth, cifar=size <= 32).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    views = torch.rand(2 * batch, 3, size, size).to(memory_format=torch.channels_last)
    loss_of = loss_of_peer(peer)
    autocast = (
        torch.autocast("cpu", torch.bfloat16) if precision == "mixed_bfloat16" else contextlib.nullcontext()
    )

    def step() -> float:
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with autocast:
            loss = loss_of(network, views)
        loss.backward()
        optimizer.step()
        loss.item()
        return time.perf_counter() - start

    moments["built"] = time.time()
    step()
    moments["first_step"] = time.time()
    for _ in range(WARM_UP_STEPS - 1):
        step()
    return [step() for _ in range(steps)], moments


if __name__ == "__main__":
    peer, *sizes, precision, steps = sys.argv[1:]
    depth, size, batch = map(int, sizes)
    seconds, moments = step_times(peer, depth, size, batch, precision, int(steps))
    print(json.dumps({"step_s": seconds, "peak_mb": peak_bytes() / 2**20, "moments": moments}))
