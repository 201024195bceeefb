"""How long the kernels of a GPU took, from the file that TensorFlow's profiler leaves."""

from __future__ import annotations

import dataclasses
import pathlib
import re

from benchmarks.measuring.op_times import planes

# A GPU's own queues of work; its other lines sum up what these did.
STREAM = "Stream"
# The kind of a kernel by what its name holds; the first that fits.
KINDS = {
    "copies": r"memcpy|memset",
    "transpositions": r"transpose|swapdimension|nchwtonhwc|nhwctonchw|shuffleintensor",
    "batch norm of cuDNN": r"bn_fw|bn_bw|batch_?norm",
    "convolutions and matrix products": r"conv|gemm|cutlass|xmma|nvjet|dgrad|wgrad|fprop|cudnn",
    "sums over GPUs": r"nccl",
    "eigenvalues": r"syev|eigh|jacobi",
    "reductions fused by XLA": r"reduce_fusion",
    "fusions of XLA": r"fusion|^wrapped_",
    "reductions": r"reduc",
}
OTHER = "other kernels"


@dataclasses.dataclass(frozen=True)
class KernelCall:
    """A kernel or a copy that ran once.

    Attributes:
        name: Without the number that XLA gives to it, such as `loop_add_fusion`.
        seconds: On the GPU.
    """

    name: str
    seconds: float

    @property
    def kind(self) -> str:
        """What it does, as far as its name says."""
        found = (kind for kind, pattern in KINDS.items() if re.search(pattern, self.name, re.IGNORECASE))
        return next(found, OTHER)


def kernel_calls(folder: pathlib.Path) -> list[KernelCall]:
    """What the first GPU did, in the .xplane.pb files under a folder; empty without a GPU."""
    calls = []
    for plane in planes(folder, "/device:GPU:0"):
        names = {number: metadata.name for number, metadata in plane.event_metadata.items()}
        for line in plane.lines:
            if line.name.startswith(STREAM):
                calls += [
                    KernelCall(_without_number(names[event.metadata_id]), event.duration_ps / 1e12)
                    for event in line.events
                ]
    return calls


def _without_number(name: str) -> str:
    return re.sub(r"[._]\d+$", "", name)
