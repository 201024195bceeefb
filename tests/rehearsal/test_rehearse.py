"""The search for the largest batch that fits, and the configs that are tried."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable

import pytest

from tests.conformance.descriptors import STAGES
from tf_simclrv2.config import EvaluationConfig, ExperimentConfig, RunConfig, TrainingConfig
from tf_simclrv2.errors import ConfigError, RunError
from tf_simclrv2.rehearsal import compiled_step
from tf_simclrv2.rehearsal import rehearse as rehearse_module
from tf_simclrv2.rehearsal.compiled_step import CompiledStep
from tf_simclrv2.rehearsal.rehearsal_config import RehearsalConfig
from tf_simclrv2.rehearsal.rehearse import (
    ATTEMPTS,
    batch_size,
    largest_that_fits,
    parts_of_a_batch,
    rehearse,
    with_images,
)
from tf_simclrv2.training.plan import refuse_uneven_batches

LIMIT = 1000.0


def _compiler(used: Callable[[int], float]) -> tuple[Callable[[int], CompiledStep], list[int]]:
    tried: list[int] = []

    def compiled(images: int) -> CompiledStep:
        tried.append(images)
        return CompiledStep(used(images) <= LIMIT, used(images), LIMIT)

    return compiled, tried


@pytest.mark.parametrize("fixed, each", [(0, 10), (300, 3), (900, 7), (50, 1.7), (992, 1)])
@pytest.mark.parametrize("asked", [1000, 1024, 4096])
def test_the_largest_multiple_of_8_is_found_on_a_line(fixed: float, each: float, asked: int) -> None:
    compiled, tried = _compiler(lambda images: fixed + each * images)
    largest = int((LIMIT - fixed) / each) // 8 * 8
    found = largest_that_fits(compiled, asked, compiled(asked))
    assert len(tried) <= 1 + ATTEMPTS
    assert found is not None and found[0] == largest and found[1].used == fixed + each * largest


def test_a_curve_is_followed_as_far_as_the_attempts_reach() -> None:
    compiled, tried = _compiler(lambda images: 100 + 0.002 * images**2)
    found = largest_that_fits(compiled, 2048, compiled(2048))
    assert found is not None and found[1].fits
    assert found[0] >= 0.8 * (900 / 0.002) ** 0.5
    assert len(tried) <= 1 + ATTEMPTS


def test_a_plateau_is_climbed() -> None:
    """A compiler that is short of memory computes twice, so that the memory hardly grows until it jumps."""

    def used(images: int) -> float:
        return 12 * images if images <= 70 else 850 - images / 50 if images <= 104 else 11.7 * images

    compiled, tried = _compiler(used)
    found = largest_that_fits(compiled, 128, compiled(128))
    assert found is not None and found[1].fits and 96 <= found[0] <= 104
    assert len(tried) <= 1 + ATTEMPTS


@pytest.mark.parametrize("tries", [0, 1, 2])
def test_a_search_that_cannot_go_on_keeps_what_it_has(tries: int) -> None:
    compiled, tried = _compiler(lambda images: 100 + 0.002 * images**2)
    step = compiled(2048)
    found = largest_that_fits(lambda images: compiled(images) if len(tried) <= tries else None, 2048, step)
    fitted = [images for images in tried[1:] if 100 + 0.002 * images**2 <= LIMIT]
    assert len(tried) == 1 + tries and (found[0] if found else None) == max(fitted, default=None)


def test_memory_that_runs_out_in_a_search_leaves_the_verdict(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    """The step that was asked for does not fit, which is worth minutes of compiling."""

    def traced(config: ExperimentConfig, *_: object) -> str:
        if config.training.train_batch_size < 1024:
            raise RunError("the device ran out of memory (OOM); free some.")
        return "a program"

    too_large = CompiledStep(False, 2 * LIMIT, LIMIT)
    monkeypatch.setattr(rehearse_module, "refuse_without_compiler", lambda: None)
    monkeypatch.setattr(rehearse_module, "traced_step", traced)
    monkeypatch.setattr(rehearse_module, "compile_step", lambda *_: too_large)
    config = ExperimentConfig(training=TrainingConfig(train_batch_size=1024))
    lines: list[str] = []
    found = rehearse(config, RehearsalConfig(tpu="v5e-8", cache=str(tmp_path)), lines.append)
    assert found.step is too_large and found.largest_batch == 0 and found.fitting is None
    assert any(line.startswith("the search for a smaller batch ends early: the device ran") for line in lines)


def test_fewer_than_8_are_tried_where_8_do_not_fit() -> None:
    compiled, _ = _compiler(lambda images: 250 * images)
    found = largest_that_fits(compiled, 64, compiled(64))
    assert found is not None and found[0] == 4


@pytest.mark.parametrize("asked", [8, 16, 512])
def test_nothing_is_found_where_the_weights_alone_are_too_large(asked: int) -> None:
    compiled, tried = _compiler(lambda images: 2 * LIMIT + images)
    assert largest_that_fits(compiled, asked, compiled(asked)) is None
    assert len(tried) <= 1 + ATTEMPTS


@pytest.mark.parametrize("asked, parts, largest", [(7, 1, 4), (8, 1, 4), (2, 1, 1), (120, 3, 72), (12, 6, 6)])
def test_a_batch_stays_divisible_and_may_be_small(asked: int, parts: int, largest: int) -> None:
    compiled, _ = _compiler(lambda images: LIMIT * images / (largest + 0.5))
    found = largest_that_fits(compiled, asked, compiled(asked), parts)
    assert found is not None and found[0] == largest


@pytest.mark.parametrize("images", [8, 16, 104, 112, 400])
@pytest.mark.parametrize(
    "batch, micro, labeled", [(1536, 512, 0), (4096, 0, 8), (4096, 512, 256), (8192, 0, 16)]
)
def test_every_batch_that_is_tried_could_be_asked_for(
    images: int, batch: int, micro: int, labeled: int
) -> None:
    stage = next(stage for stage in STAGES if stage.name == ("distill_labeled" if labeled else "pretrain"))
    config = stage.config("float32")
    training = dataclasses.replace(config.training, train_batch_size=batch, microbatch_size=micro)
    distillation = dataclasses.replace(config.distillation, labeled_batch_size=labeled)
    config = dataclasses.replace(config, training=training, distillation=distillation)
    images *= parts_of_a_batch(config)
    changed = with_images(config, images, 8)
    refuse_uneven_batches(changed, 8)
    assert batch_size(changed) == 8 * images
    assert parts_of_a_batch(changed) == parts_of_a_batch(config)
    assert bool(changed.labeled_batch_size) == bool(config.labeled_batch_size)


def test_an_evaluation_asks_only_for_its_own_batch() -> None:
    config = STAGES[0].config("float32")
    training = dataclasses.replace(config.training, train_batch_size=4, microbatch_size=2)
    config = dataclasses.replace(config, training=training, evaluation=EvaluationConfig(eval_batch_size=9))
    refuse_uneven_batches(dataclasses.replace(config, run=RunConfig(mode="eval")), 3)
    with pytest.raises(ConfigError, match="train_batch_size is 4"):
        refuse_uneven_batches(config, 3)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_all_batches_change_in_proportion(stage) -> None:
    config = stage.config("float32")
    half = with_images(config, batch_size(config) // 2, 1)
    assert batch_size(half) == 4
    assert 2 * half.training.microbatch_size == config.training.microbatch_size
    assert 2 * half.labeled_batch_size == config.labeled_batch_size


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_step, "_NEEDED", ())


def test_a_batch_that_the_cores_cannot_share_is_refused(compiler, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match="train_batch_size is 8, which 32 replicas cannot share evenly"):
        rehearse(STAGES[0].config("float32"), RehearsalConfig("v5e-32", 10, cache=str(tmp_path)))


def test_float64_is_refused(compiler, tmp_path: pathlib.Path) -> None:
    config = STAGES[0].config("float64")
    with pytest.raises(ConfigError, match="precision is 'float64', in which TPUs cannot sum; use float32"):
        rehearse(config, RehearsalConfig("v5e-8", 10, cache=str(tmp_path)))


def test_a_compiler_that_is_not_installed_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_step, "_NEEDED", ("json", "no_such_compiler"))
    config = dataclasses.replace(STAGES[0].config("float32"))
    with pytest.raises(ConfigError, match=r"no_such_compiler cannot be imported.*\[tpu-rehearsal\]"):
        rehearse(config, RehearsalConfig("v5e-8", 10, cache=""))
