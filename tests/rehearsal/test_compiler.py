"""The TPU's own compiler: small steps for slices that are not there."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import sys

import pytest

from tests.conformance.descriptors import STAGES, Stage
from tests.programs import SMALL_PROGRAM, finished
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.rehearsal import compiled_step
from tf_simclrv2.rehearsal.printout import as_json, printout
from tf_simclrv2.rehearsal.rehearsal_config import RehearsalConfig
from tf_simclrv2.rehearsal.rehearse import rehearse


def _stage(name: str, **model) -> Stage:
    [stage] = [stage for stage in STAGES if stage.name == name]
    return dataclasses.replace(stage, flags={**stage.flags, **model})


def _quickly(tpu: str, folder: pathlib.Path) -> RehearsalConfig:
    return RehearsalConfig(tpu, 10, "quick", str(folder))


@pytest.mark.parametrize("tpu", ["v2-8", "v3-8", "v4-8", "v5e-8", "v5p-16", "v6e-8"])
def test_a_step_compiles_for_every_generation(tpu: str, tmp_path: pathlib.Path) -> None:
    found = rehearse(
        _stage("finetune").config("mixed_bfloat16"),
        _quickly(tpu, tmp_path),
    )
    assert found.step.fits and found.largest_batch is None
    assert found.step.all_reduces > 1
    assert found.least_seconds is not None and found.least_seconds > 0
    assert "fits            yes" in printout(found)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_every_stage_compiles(stage: Stage, tmp_path: pathlib.Path) -> None:
    if stage.config("float32").training.microbatch_size:  # Two cores of 4 images cannot share parts of 4.
        stage = dataclasses.replace(
            stage, flags={**stage.flags, "train_batch_size": 32, "microbatch_size": 16}
        )
    asked = _quickly("v5e-4", tmp_path)
    found = rehearse(stage.config("float32"), asked)
    assert found.step.fits and found.step.all_reduces > 1


def test_quick_compiles_the_same_work_and_says_so(tmp_path: pathlib.Path) -> None:
    config = _stage("finetune").config("mixed_bfloat16")
    full, quick = (
        rehearse(config, RehearsalConfig("v5e-4", 10, effort, str(tmp_path))) for effort in ("full", "quick")
    )
    assert quick.step.fits and quick.step.arguments == full.step.arguments
    assert quick.step.flops == pytest.approx(full.step.flops, rel=0.1)
    assert "--effort=quick" in printout(quick) and "--effort" not in printout(full)
    assert [as_json(found)["effort"] for found in (full, quick)] == ["full", "quick"]


def test_nothing_is_compiled_twice(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = _stage("supervised").config("float32")
    asked = _quickly("v5e-4", tmp_path)
    first = rehearse(config, asked)
    monkeypatch.setattr(compiled_step, "_in_a_process", None)
    assert as_json(rehearse(config, asked)) == as_json(first)


def test_what_does_not_fit_is_made_smaller(tmp_path: pathlib.Path) -> None:
    stage = _stage("finetune", image_size=224, train_batch_size=16384)
    found = rehearse(stage.config("float32"), _quickly("v5e-4", tmp_path))
    assert not found.step.fits and found.largest_batch
    assert found.largest_step.fits and found.largest_step.used > 0.7 * found.step.limit
    assert f"no; {found.largest_batch} images per core do" in printout(found)


def test_a_slice_that_the_compiler_does_not_know_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match="tpu is 'v5e:2x3', which the TPU's compiler does not know"):
        config = dataclasses.replace(STAGES[3], flags={**STAGES[3].flags, "train_batch_size": 12})
        config = config.config("float32")
        evaluation = dataclasses.replace(config.evaluation, eval_batch_size=12)
        rehearse(
            dataclasses.replace(config, evaluation=evaluation),
            _quickly("v5e:2x3", tmp_path),
        )


def test_from_the_command_line(tmp_path: pathlib.Path) -> None:
    """Nothing of the compiler's own is on the terminal, and no data is read."""
    program = [sys.executable, *SMALL_PROGRAM, "tf_simclrv2", "rehearse", "--tpu=v5e-4", "--mode=eval"]
    options = ["--resnet_depth=18", "--image_size=8", "--eval_batch_size=8", "--train_batch_size=8"]
    places = [f"--rehearsal_cache={tmp_path}/cache", f"--json={tmp_path}/found.json"]
    done = finished([*program, *options, "--data_dir=/nowhere", *places], patience=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "evaluation of the classifier, ResNet-18" in done.stdout
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["step"]["fits"] and found["cores"] == 4
