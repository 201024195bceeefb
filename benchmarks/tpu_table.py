"""Which of the paper's networks fit on which TPU slice, by the TPU's compiler: the tables of docs/tpu.md.

    python benchmarks/tpu_table.py --program=.build/rehearsal/bin/simclrv2 [--only=ResNet-50/pretrain ...]
    python benchmarks/tpu_table.py --docs

Rehearses one step after the other, each of them minutes to an hour of processor time, and notes each in
--results, so that a later call goes on where this one was stopped. `make rehearse-test` installs the program.
`--docs` writes the tables.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from benchmarks.measuring.measured_page import NOTHING, rewrite
from benchmarks.measuring.results_file import ResultsFile
from tf_simclrv2.files import read_json
from tf_simclrv2.rehearsal.tpu_slice import GIB, parse_slice

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"
NETWORKS = {
    "ResNet-50": ("--resnet_depth=50",),
    "ResNet-50 2x+SK": ("--resnet_depth=50", "--width_multiplier=2", "--sk_ratio=0.0625"),
    "ResNet-101 2x+SK": ("--resnet_depth=101", "--width_multiplier=2", "--sk_ratio=0.0625"),
    "ResNet-152 3x+SK": ("--resnet_depth=152", "--width_multiplier=3", "--sk_ratio=0.0625"),
}
STAGES = {
    "pretrain": (),
    "pretrain, rematerialized": ("--rematerialize",),
    "pretrain, memory of 65,536": ("--memory_size=65536",),
    "pretrain, micro-batches of 32": ("--microbatch_size={micro}",),
    "finetune": ("--train_mode=finetune", "--ft_proj_selector=1"),
    "supervised": ("--train_mode=supervised",),
    "distill": ("--train_mode=distill", "--teacher=teacher"),
    "evaluate": ("--mode=eval",),
}
MICRO_BATCH = 32
# What memory depends on most is shown for smaller batches too.
SMALLER_BATCHES = (32, 64)
SMALLER_STAGES = ("pretrain", "pretrain, rematerialized")
SMALLER_SLICE = "v5e-8"
SLICES = {"v3-8": 8, "v3-128": 128, "v4-8": 8, "v5e-8": 8, "v5e-64": 64, "v6e-8": 8}
# The paper's largest network with its memory and its batch, on slices of the size that these need.
PAPER = ("ResNet-152 3x+SK", "the paper's batch of 4,096")
PAPER_FLAGS = ("--train_batch_size=4096", "--memory_size=65536", "--rematerialize")
PAPER_SLICES = ("v3-128", "v3-256", "v5e-64", "v5e-256")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What all steps have in common; `images` is the batch of a core that is tried first."""

    images: int = 128
    image_size: int = 224
    precision: str = "mixed_bfloat16"
    classes: int = 1000
    compiler: str = "libtpu 0.0.42.1"
    effort: str = "quick"


Measured = ResultsFile[Settings]


def main() -> None:
    """Rehearses what is not known yet, or writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=pathlib.Path, help="simclrv2 with the extra tpu-rehearsal")
    parser.add_argument("--only", action="append", help="beginnings of NETWORK/STAGE/SLICE; default: all")
    parser.add_argument("--results", type=pathlib.Path, default=DOCS / "measured" / "tpu.json")
    parser.add_argument("--docs", action="store_true", help="write docs/tpu.md from --results")
    arguments = parser.parse_args()
    measured = Measured.open(arguments.results, Settings())
    if arguments.docs:
        rewrite(DOCS / "tpu.md", measured_part(measured))
        return
    if arguments.program is None:
        parser.error("--program is missing; pass the simclrv2 that make rehearse-test has installed.")
    for name, flags in steps(measured.settings).items():
        if name not in measured.results and name.startswith(tuple(arguments.only or ("",))):
            print(name, flush=True)
            found = rehearsed(arguments.program, flags)
            refuse_other_compiler(found, measured.settings)
            measured.add(name, found)


def steps(settings: Settings) -> dict[str, list[str]]:
    """The flags of every step, by NETWORK/STAGE/SLICE or, with fewer images, NETWORK/STAGE/SLICE/IMAGES."""
    found = {
        f"{network}/{stage}/{tpu}": _flags(network, stage, tpu, settings.images)
        for network, stage, tpu in itertools.product(NETWORKS, STAGES, SLICES)
    }
    for network, stage, images in itertools.product(NETWORKS, SMALLER_STAGES, SMALLER_BATCHES):
        name = f"{network}/{stage}/{SMALLER_SLICE}/{images}"
        found[name] = _flags(network, stage, SMALLER_SLICE, images)
    for tpu in PAPER_SLICES:
        found["/".join((*PAPER, tpu))] = [f"--tpu={tpu}", *NETWORKS[PAPER[0]], *PAPER_FLAGS]
    common = [
        f"--image_size={settings.image_size}",
        f"--precision={settings.precision}",
        f"--classes={settings.classes}",
        f"--effort={settings.effort}",
    ]
    return {name: [*flags, *common] for name, flags in found.items()}


def _flags(network: str, stage: str, tpu: str, images: int) -> list[str]:
    cores = SLICES[tpu]
    return [
        f"--tpu={tpu}",
        f"--{'eval' if stage == 'evaluate' else 'train'}_batch_size={images * cores}",
        *NETWORKS[network],
        *(flag.format(micro=MICRO_BATCH * cores) for flag in STAGES[stage]),
    ]


def rehearsed(program: pathlib.Path, flags: list[str]) -> dict[str, Any]:
    """What the program finds, which says what it does meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        found = f"{folder}/found.json"
        subprocess.run([program, "rehearse", *flags, f"--json={found}"], check=True)
        return read_json(found)


def refuse_other_compiler(found: dict[str, Any], settings: Settings) -> None:
    """Checks that a step was compiled by what the settings name.

    Raises:
        SystemExit: It was not.
    """
    compiler = f"libtpu {found['compiler']['libtpu']}"
    if compiler != settings.compiler:
        raise SystemExit(
            f"the program compiles with {compiler}, but the table is of {settings.compiler}; install that."
        )


def measured_part(measured: Measured) -> str:
    """Both tables."""
    if not measured.results:
        return NOTHING
    about_batches = f"The memory of a core of a {SMALLER_SLICE} by the images of a core:"
    return f"{table(measured)}\n\n{about_batches}\n\n{batch_table(measured)}"


def table(measured: Measured) -> str:
    """A row for each network and stage, a column for each slice of which something is known."""
    known = {tuple(name.split("/")): result for name, result in measured.results.items()}
    tpus = [tpu for tpu in dict.fromkeys((*SLICES, *PAPER_SLICES)) if any(tpu == of for *_, of in known)]
    lines = [f"| network | stage | {' | '.join(tpus)} |", "|---|---|" + "---|" * len(tpus)]
    for network, stage in [*itertools.product(NETWORKS, STAGES), PAPER]:
        found = [known.get((network, stage, tpu)) for tpu in tpus]
        if any(found):
            of_any_batch = stage != PAPER[1]
            cells = (
                _cell(each, tpu, of_any_batch) if each else "" for each, tpu in zip(found, tpus, strict=True)
            )
            lines.append(f"| {network} | {stage} | {' | '.join(cells)} |")
    return "\n".join(lines)


def batch_table(measured: Measured) -> str:
    """The memory that pretraining takes by the batch of a core."""
    batches = (*SMALLER_BATCHES, measured.settings.images)
    lines = [f"| network | stage | {' | '.join(map(str, batches))} |", "|---|---|" + "---|" * len(batches)]
    for network, stage in itertools.product(NETWORKS, SMALLER_STAGES):
        name = f"{network}/{stage}/{SMALLER_SLICE}"
        names = (*(f"{name}/{images}" for images in SMALLER_BATCHES), name)
        cells = (_memory(measured.results.get(each)) for each in names)
        lines.append(f"| {network} | {stage} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _memory(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    used = f"{found['step']['used'] / GIB:.1f} GiB"
    if found["largest_images_per_core"] is None:
        return used
    # Of some programs that do not fit, the compiler names the temporaries alone.
    least = "" if found["step"].get("counts_all", False) else "at least "
    return f"{least}{used}, does not fit"


def _cell(found: dict[str, Any], tpu: str, of_any_batch: bool) -> str:
    """The largest batch of a core that fits, its memory, and the lower bound of its step, if one is known."""
    largest = found["largest_images_per_core"]
    if largest == 0 or not (largest is None or of_any_batch):
        return "does not fit"
    step = found["step"] if largest is None else found["largest_step"]
    images = found["images_per_core"] if largest is None else largest
    memory = f"{images}: {step['used'] / GIB:.1f} GiB"
    if found.get("least_seconds", 0) is None:
        return memory
    seconds = parse_slice(tpu).generation.least_seconds(step["flops"], step["accessed"])
    return f"{memory}, {1000 * seconds:,.0f} ms"


if __name__ == "__main__":
    main()
