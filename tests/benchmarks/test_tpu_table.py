"""The table of networks and slices: its steps can be rehearsed, and its cells say what was found."""

from __future__ import annotations

import pathlib

import pytest
from absl import flags
from absl.testing import flagsaver

from benchmarks import tpu_table
from benchmarks.measuring.measured_page import NOTHING, shown_part
from benchmarks.tpu_table import (
    Measured,
    Settings,
    batch_table,
    measured_part,
    refuse_other_compiler,
    steps,
    table,
)
from tf_simclrv2.cli.flags import config_from_flags, define_flags
from tf_simclrv2.rehearsal.rehearse import batch_size
from tf_simclrv2.rehearsal.tpu_slice import parse_slice

GIB = 2**30


def step(gigabytes: float, flops: float, accessed: float) -> dict[str, float]:
    """What a rehearsal's JSON says of a step."""
    return {"used": gigabytes * GIB, "flops": flops, "accessed": accessed}


def found(**values: object) -> dict[str, object]:
    """What a rehearsal's JSON says, as far as the table reads it."""
    return {"images_per_core": 128, "largest_images_per_core": None, "largest_step": None, **values}


def test_every_step_can_be_asked_for() -> None:
    if "train_mode" not in flags.FLAGS:  # Flags can be defined once a process.
        define_flags()
    asked = steps(Settings())
    papers = {"/".join((*tpu_table.PAPER, tpu)) for tpu in tpu_table.PAPER_SLICES}
    of_a_network = len(tpu_table.STAGES) * len(tpu_table.SLICES) + len(tpu_table.SMALLER_STAGES) * 2
    assert len(asked) == len(tpu_table.NETWORKS) * of_a_network + len(papers)
    for name, typed in asked.items():
        tpu, *of_the_run = (flag for flag in typed if not flag.startswith(("--classes=", "--effort=")))
        with flagsaver.flagsaver():
            for flag in flags.FLAGS:  # What another test has typed.
                flags.FLAGS[flag].unparse()
            assert flags.FLAGS(["rehearse", *of_the_run])[1:] == []
            batch = batch_size(config_from_flags())
        _, _, of_name, *images = name.split("/")
        assert tpu == f"--tpu={of_name}"
        of_a_core = int(images[0]) if images else Settings().images
        assert batch == (4096 if name in papers else of_a_core * parse_slice(of_name).replicas), name


def test_cells_say_what_fits_and_how_fast_it_is_at_most() -> None:
    measured = Measured(pathlib.Path("none"), Settings())
    assert measured_part(measured) == NOTHING
    measured.results = {
        "ResNet-50/pretrain/v5e-8": found(step=step(9.15, 6.18e12, 104.98e9)),
        "ResNet-152 3x+SK/pretrain/v5e-8": found(
            step=step(99, 1, 1), largest_images_per_core=24, largest_step=step(15, 98.5e12, 1)
        ),
        "ResNet-152 3x+SK/pretrain/v3-8": found(step=step(99, 1, 1), largest_images_per_core=0),
        "ResNet-50/pretrain, micro-batches of 32/v5e-8": found(step=step(3, 1, 1), least_seconds=None),
        "/".join((*tpu_table.PAPER, "v3-8")): found(
            step=step(99, 1, 1), largest_images_per_core=24, largest_step=step(15, 1, 1)
        ),
    }
    assert table(measured).splitlines() == [
        "| network | stage | v3-8 | v5e-8 |",
        "|---|---|---|---|",
        # 105 GB at 819 GB/s; 98.5 TFLOP at 197 TFLOP/s.
        "| ResNet-50 | pretrain |  | 128: 9.2 GiB, 128 ms |",
        "| ResNet-50 | pretrain, micro-batches of 32 |  | 128: 3.0 GiB |",
        "| ResNet-152 3x+SK | pretrain | does not fit | 24: 15.0 GiB, 500 ms |",
        "| ResNet-152 3x+SK | the paper's batch of 4,096 | does not fit |  |",
    ]


def test_memory_by_batch() -> None:
    measured = Measured(pathlib.Path("none"), Settings())
    measured.results = {
        "ResNet-50/pretrain/v5e-8": found(step=step(9.15, 1, 1)),
        "ResNet-50/pretrain/v5e-8/32": found(step=step(2.5, 1, 1)),
        "ResNet-152 3x+SK/pretrain, rematerialized/v5e-8/64": found(
            step=step(19.94, 1, 1), largest_images_per_core=48, largest_step=step(15, 1, 1)
        ),
    }
    lines = batch_table(measured).splitlines()
    assert lines[0] == "| network | stage | 32 | 64 | 128 |" and len(lines) == 2 + 2 * 4
    assert lines[2] == "| ResNet-50 | pretrain | 2.5 GiB |  | 9.2 GiB |"
    assert lines[3] == "| ResNet-50 | pretrain, rematerialized |  |  |  |"
    assert (
        lines[9] == "| ResNet-152 3x+SK | pretrain, rematerialized |  | at least 19.9 GiB, does not fit |  |"
    )
    assert len(table(measured).splitlines()) == 3  # Only the batch that is tried first has a cell there.


def test_steps_of_another_compiler_are_not_mixed_in() -> None:
    refuse_other_compiler({"compiler": {"libtpu": "0.0.42.1"}}, Settings())
    with pytest.raises(SystemExit, match=r"with libtpu 0\.0\.21, but the table is of libtpu 0\.0\.42"):
        refuse_other_compiler({"compiler": {"libtpu": "0.0.21"}}, Settings())


def test_the_page_shows_the_committed_results() -> None:
    shown = shown_part(tpu_table.DOCS / "tpu.md")
    assert shown == measured_part(Measured.open(tpu_table.DOCS / "measured" / "tpu.json", Settings()))
