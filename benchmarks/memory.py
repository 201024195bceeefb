"""Peak memory of whole pretraining steps: in micro-batches, with rematerialized blocks, and plain.

    python benchmarks/memory.py [--case=NAME ...] [--precision=float32] [--steps=2] [--json=FILE]
    python benchmarks/memory.py --peer=lightly|torch [--torch_python=PATH]

Each case runs in a process of its own, whose largest resident size is taken after the network was built and
after the steps; that of TensorFlow's import is in both. The peer's peak is measured beside the plain cases,
with its own import in it. Prints a table, the peak of each rematerialized case as a share of the same one
without and, with --json, the numbers.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from benchmarks.measuring.child import numbers_of
from benchmarks.measuring.peak_memory import peak_bytes
from benchmarks.train_step import pretraining_config, pretraining_step, torch_command
from tf_simclrv2 import ModelConfig, TrainingConfig

R18 = ModelConfig(resnet_depth=18, image_size=32)
R50 = ModelConfig(resnet_depth=50, image_size=224)
R152_3X_SK = ModelConfig(resnet_depth=152, width_multiplier=3, sk_ratio=0.0625, image_size=224)
CASES = {
    "r18_32px_b64": (R18, TrainingConfig(train_batch_size=64)),
    "r18_32px_b1024_parts_of_64": (R18, TrainingConfig(train_batch_size=1024, microbatch_size=64)),
    "r50_224px_b8": (R50, TrainingConfig(train_batch_size=8)),
    "r50_224px_b8_rematerialized": (R50, TrainingConfig(train_batch_size=8, rematerialize=True)),
    "r50_224px_b32": (R50, TrainingConfig(train_batch_size=32)),
    "r50_224px_b32_rematerialized": (R50, TrainingConfig(train_batch_size=32, rematerialize=True)),
    "r152_3x_sk_224px_b2_rematerialized": (
        R152_3X_SK,
        TrainingConfig(train_batch_size=2, rematerialize=True),
    ),
}
LARGE = "r152_3x_sk_224px_b2_rematerialized"
REMATERIALIZED = "_rematerialized"


def peak_mb() -> float:
    """The largest resident size of this process so far, in MB."""
    return peak_bytes() / 2**20


def measure(name: str, precision: str, steps: int) -> dict[str, float | list[float]]:
    """Peaks and step times of a case, in this process."""
    imported = peak_mb()
    model, training = CASES[name]
    training = dataclasses.replace(training, precision=precision)
    step = pretraining_step(pretraining_config(model, training))
    built = peak_mb()
    seconds = [step() for _ in range(steps)]
    return {"imported_mb": imported, "built_mb": built, "peak_mb": peak_mb(), "step_s": seconds}


def is_plain(name: str) -> bool:
    """Whether PyTorch's program can do the same."""
    model, training = CASES[name]
    return not (model.sk_ratio or training.microbatch_size or training.rematerialize)


def shares_of_plain(peaks: dict[str, float]) -> dict[str, float]:
    """The peak of each rematerialized case over that of the same one without, where both were measured."""
    plain = {name: name.removesuffix(REMATERIALIZED) for name in peaks if name.endswith(REMATERIALIZED)}
    return {name: peaks[name] / peaks[other] for name, other in plain.items() if other in peaks}


def main() -> None:
    """Measures the cases that are asked for and prints them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", choices=CASES, action="append", help=f"default: all but {LARGE}")
    parser.add_argument("--precision", default="float32", choices=["float32", "mixed_bfloat16"])
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--peer", default="none", choices=["lightly", "torch", "none"])
    parser.add_argument("--torch_python", default=sys.executable, help="an interpreter that has the peer")
    parser.add_argument("--json", type=pathlib.Path, help="file for the numbers")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        print(json.dumps(measure(arguments.case[0], arguments.precision, arguments.steps)))
        return
    print(
        f"{'case':<38}{'import MB':>10}{'built MB':>10}{'peak MB':>10}{'first step s':>14}{'last step s':>13}"
    )
    results = {}
    for name in arguments.case or [name for name in CASES if name != LARGE]:
        options = [f"--case={name}", f"--precision={arguments.precision}", f"--steps={arguments.steps}"]
        found = results[name] = numbers_of([sys.executable, __file__, "--here", *options])
        print(
            f"{name:<38}{found['imported_mb']:>10.0f}{found['built_mb']:>10.0f}{found['peak_mb']:>10.0f}"
            f"{found['step_s'][0]:>14.1f}{found['step_s'][-1]:>13.2f}",
            flush=True,
        )
        if arguments.peer != "none" and is_plain(name):
            model, training = CASES[name]
            options = (model, training.train_batch_size, arguments.precision, arguments.steps)
            command = torch_command(arguments.torch_python, arguments.peer, *options)
            found[f"{arguments.peer}_peak_mb"] = peak = numbers_of(command)["peak_mb"]
            print(f"{'  ' + arguments.peer:<38}{'':>20}{peak:>10.0f}", flush=True)
    for name, share in shares_of_plain({name: found["peak_mb"] for name, found in results.items()}).items():
        print(f"{name} peaks at {share:.0%} of {name.removesuffix(REMATERIALIZED)}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
