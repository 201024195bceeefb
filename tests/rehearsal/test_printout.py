"""What is said of a rehearsal, in words and in JSON."""

from __future__ import annotations

import dataclasses

import pytest

from tests.conformance.descriptors import STAGES
from tf_simclrv2.rehearsal.compiled_step import CompiledStep
from tf_simclrv2.rehearsal.printout import as_json, printout
from tf_simclrv2.rehearsal.rehearse import Rehearsal
from tf_simclrv2.rehearsal.tpu_slice import GIB, parse_slice

LIMIT = 15.75 * GIB
# 98.5 TFLOP at 197 TFLOP/s are half a second, 81.9 GB at 819 GB/s a tenth.
FITS = CompiledStep(True, 8 * GIB, LIMIT, 1 * GIB, 6 * GIB, 1 * GIB, 98.5e12, 81.9e9, 3, 2**20, 20.0)
TOO_LARGE = CompiledStep(False, 20 * GIB, LIMIT)


def _rehearsal(**changes: object) -> Rehearsal:
    config = next(stage for stage in STAGES if stage.name == "pretrain").config("mixed_bfloat16")
    training = dataclasses.replace(config.training, train_batch_size=1024)
    config = dataclasses.replace(config, training=training)
    found = Rehearsal(parse_slice("v5e-8"), config, "full", FITS)
    return dataclasses.replace(found, **changes)


def test_a_step_that_fits() -> None:
    found = _rehearsal()
    text = printout(found)
    assert "fits            yes\n" in text
    assert "8.00 of 15.75 GiB per core: 1.00 arguments, 6.00 temporaries, 1.00 program" in text
    assert "98.50 TFLOP and 81.90 GB per step and core\n" in text
    assert "at least 500.0 ms: 500.0 ms of arithmetic at 197 TFLOP/s, 100.0 ms of memory at 819 GB/s" in text
    assert "at most 2,048 images/s" in text
    assert "3 sums over cores, 1.0 MiB" in text
    assert as_json(found)["least_seconds"] == pytest.approx(0.5)


def test_of_a_step_that_does_not_fit_the_largest_is_described() -> None:
    found = _rehearsal(step=TOO_LARGE, largest_batch=64, largest_step=FITS)
    text = printout(found)
    assert "fits            no; 64 images per core do (--train_batch_size=512)\n" in text
    assert "20.00 of 15.75 GiB per core\nwith 64 images per core\n" in text
    assert "8.00 of 15.75 GiB per core: 1.00 arguments" in text
    assert "at most 1,024 images/s" in text
    assert as_json(found)["least_seconds"] == pytest.approx(0.5)


def test_a_smaller_batch_comes_with_the_flags_that_were_compiled() -> None:
    """The micro-batch shrinks with the batch, so a batch alone would not fit."""
    config = _rehearsal().config
    training = dataclasses.replace(config.training, microbatch_size=256)
    config = dataclasses.replace(config, training=training)
    found = _rehearsal(config=config, step=TOO_LARGE, largest_batch=64, largest_step=FITS)
    assert "64 images per core do (--train_batch_size=512 --microbatch_size=128)\n" in printout(found)
    assert as_json(found)["largest_flags"] == {"train_batch_size": 512, "microbatch_size": 128}
    assert as_json(found)["parts_of_a_batch"] == 4


def test_of_some_programs_only_the_temporaries_are_known() -> None:
    step = dataclasses.replace(TOO_LARGE, counts_all=False)
    assert "memory          at least 20.00 of 15.75 GiB per core" in printout(
        _rehearsal(step=step, largest_batch=0)
    )


def test_what_was_rehearsed_is_in_the_json() -> None:
    run = as_json(_rehearsal())["run"]
    assert (run["stage"], run["resnet_depth"], run["batch_size"]) == ("pretrain", 18, 1024)
    assert set(as_json(_rehearsal())["compiler"]) == {"jax", "libtpu"}


def test_where_nothing_fits_nothing_more_is_said() -> None:
    found = _rehearsal(step=TOO_LARGE, largest_batch=0)
    assert printout(found).endswith(
        "no; no batch was found that does\n  memory          20.00 of 15.75 GiB per core"
    )
    assert as_json(found)["least_seconds"] is None


def test_a_part_of_a_batch_says_nothing_of_the_time_of_a_step() -> None:
    config = _rehearsal().config
    training = dataclasses.replace(config.training, microbatch_size=256)
    found = _rehearsal(config=dataclasses.replace(config, training=training))
    text = printout(found)
    assert "per step and core, counting one part of the batch" in text
    assert "step time" not in text and "images/s" not in text
    assert as_json(found)["least_seconds"] is None


def test_a_quick_program_that_nearly_fills_the_memory_is_doubted() -> None:
    full = dataclasses.replace(FITS, used=0.95 * LIMIT)
    assert "yes, but nearly fills the memory; rehearse it with --effort=full" in printout(
        _rehearsal(effort="quick", step=full)
    )
    smaller = {"step": TOO_LARGE, "largest_batch": 64, "largest_step": full}
    assert "(--train_batch_size=512), but nearly fills" in printout(_rehearsal(effort="quick", **smaller))
    for changes in ({"effort": "quick"}, {"step": full}):
        assert "nearly" not in printout(_rehearsal(**changes))
