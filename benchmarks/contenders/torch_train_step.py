"""Times the pretraining step in PyTorch, for `train_step.py`; a program without TensorFlow.

    python benchmarks/contenders/torch_train_step.py PEER DEPTH IMAGE_SIZE BATCH PRECISION STEPS [CALLS]

On a GPU where PyTorch sees one, else on the CPU. The same network and batch, channels_last, plain SGD with
momentum, and in half precision autocast, in float16 with a scaled loss. PEER `torch` has NT-Xent of both
views in one pass, as ours, and `compile` the same under `torch.compile`; `lightly` has lightly's NTXentLoss
and one pass a view, as its examples have it. Prints in JSON the seconds of each step after the warm-up
(each a mean of CALLS steps, 1 by default), of the first step, the largest resident size, on a GPU the peak
of its memory, and when, as `time.time()` has it, import, building and the first step were done.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import pathlib
import sys
import time
from collections.abc import Callable

import torch  # pyright: ignore[reportMissingImports] # in the extra `bench`, not in the lock
from torch import Tensor  # pyright: ignore[reportMissingImports]
from torch.nn import functional  # pyright: ignore[reportMissingImports]

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from benchmarks.contenders.torch_resnet import TorchSimCLR
from benchmarks.measuring.peak_memory import peak_bytes

WARM_UP_STEPS = 2
TEMPERATURE = 0.1
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
HALVES = {"mixed_bfloat16": torch.bfloat16, "mixed_float16": torch.float16}


def nt_xent(z: Tensor) -> Tensor:
    """The loss of [2N, D] projections, all first views first; both directions added."""
    z = functional.normalize(z.float(), dim=1)
    n = z.shape[0] // 2
    own = torch.eye(2 * n, dtype=torch.bool, device=z.device)
    logits = (z @ z.T / TEMPERATURE).masked_fill(own, -1e9)
    partners = torch.arange(2 * n, device=z.device).roll(n)
    return 2 * functional.cross_entropy(logits, partners)


def loss_of_peer(peer: str) -> Callable[[TorchSimCLR, Tensor], Tensor]:
    """A network and [2N, 3, H, W] views, all first views first, to the loss."""
    if peer in ("torch", "compile"):
        return lambda network, views: nt_xent(network(views)["proj_head_3"])
    criterion = importlib.import_module("lightly.loss").NTXentLoss(temperature=TEMPERATURE)

    def loss(network: TorchSimCLR, views: Tensor) -> Tensor:
        first, second = (network(view)["proj_head_3"] for view in views.chunk(2))
        return criterion(first, second)

    return loss


def step_times(
    peer: str, depth: int, size: int, batch: int, precision: str, steps: int, calls: int
) -> tuple[list[float], dict[str, float]]:
    """Seconds of each step, and the moments on the way to the first one's end."""
    moments = {"imported": time.time()}
    network = TorchSimCLR(depth, cifar=size <= 32).to(DEVICE, memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    views = torch.rand(2 * batch, 3, size, size).to(DEVICE, memory_format=torch.channels_last)
    loss_of = loss_of_peer(peer)
    if peer == "compile":
        loss_of = torch.compile(loss_of)
    half = HALVES.get(precision)
    autocast = torch.autocast(DEVICE, half) if half else contextlib.nullcontext()
    scaler = torch.amp.GradScaler(DEVICE, enabled=half is torch.float16)  # Else it passes all through.

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        with autocast:
            loss = loss_of(network, views)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss

    def seconds(calls: int) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            loss = step()
        loss.item()  # Waits until all is done.
        return (time.perf_counter() - start) / calls

    moments["built"] = time.time()
    seconds(1)
    moments["first_step"] = time.time()
    seconds(WARM_UP_STEPS)
    return [seconds(calls) for _ in range(steps)], moments


if __name__ == "__main__":
    peer, depth, size, batch, precision, steps, *calls = sys.argv[1:]
    seconds, moments = step_times(
        peer, int(depth), int(size), int(batch), precision, int(steps), int(calls[0]) if calls else 1
    )
    found = {"step_s": seconds, "first_step_s": moments["first_step"] - moments["built"], "moments": moments}
    if DEVICE == "cuda":
        found["device_peak_mb"] = torch.cuda.max_memory_allocated() / 2**20
    print(json.dumps({**found, "peak_mb": peak_bytes() / 2**20}))
