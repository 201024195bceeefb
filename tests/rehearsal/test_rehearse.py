"""The search for the largest batch that fits, and the configs that are tried."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable

import pytest
import tensorflow as tf

from tests.conformance.descriptors import STAGES
from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.rehearsal import compiled_step
from tf_simclrv2.rehearsal import rehearse as rehearse_module
from tf_simclrv2.rehearsal.compiled_step import CompiledStep
from tf_simclrv2.rehearsal.rehearsal_config import RehearsalConfig
from tf_simclrv2.rehearsal.rehearse import ATTEMPTS, batch_size, largest_that_fits, rehearse, with_batch
from tf_simclrv2.rehearsal.run_step import RunStep
from tf_simclrv2.rehearsal.run_step import run_step as run_step_of_a_run

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


@pytest.mark.parametrize("asked", [8, 16, 512])
def test_nothing_is_found_where_the_weights_alone_are_too_large(asked: int) -> None:
    compiled, tried = _compiler(lambda images: 2 * LIMIT + images)
    assert largest_that_fits(compiled, asked, compiled(asked)) is None
    assert len(tried) <= 1 + ATTEMPTS


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_all_batches_change_in_proportion(stage) -> None:
    config = stage.config("float32")
    half = with_batch(config, batch_size(config) // 2)
    assert batch_size(half) == 4
    assert 2 * half.training.microbatch_size == config.training.microbatch_size
    assert 2 * half.labeled_batch_size == config.labeled_batch_size


def test_weights_are_gone_when_the_program_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the largest networks, of one batch after another, do not fit into memory together."""
    made: list[weakref.ref] = []

    def run_step(config: ExperimentConfig, strategy: tf.distribute.Strategy) -> RunStep:
        run = run_step_of_a_run(config, strategy)
        made.extend(weakref.ref(variable) for variable in run.task.trainable_variables)
        return run

    def compile_step(*_) -> CompiledStep:
        assert made and not [one for one in made if one() is not None]
        return CompiledStep(True, 1.0, LIMIT)

    monkeypatch.setattr(rehearse_module, "refuse_without_compiler", lambda: None)
    monkeypatch.setattr(rehearse_module, "run_step", run_step)
    monkeypatch.setattr(rehearse_module, "compile_step", compile_step)
    rehearse(STAGES[0].config("float32"), RehearsalConfig("v5e-4", 10, cache=""))


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_step, "_NEEDED", ())


def test_a_batch_that_the_cores_cannot_share_is_refused(monkeypatch, compiler) -> None:
    with pytest.raises(ConfigError, match="train_batch_size is 8, which 32 replicas cannot share evenly"):
        rehearse(STAGES[0].config("float32"), RehearsalConfig("v5e-32", 10, cache=""))


def test_float64_is_refused(compiler) -> None:
    config = STAGES[0].config("float64")
    with pytest.raises(ConfigError, match="precision is 'float64', in which TPUs cannot sum; use float32"):
        rehearse(config, RehearsalConfig("v5e-8", 10, cache=""))


def test_a_compiler_that_is_not_installed_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_step, "_NEEDED", ("json", "no_such_compiler"))
    config = dataclasses.replace(STAGES[0].config("float32"))
    with pytest.raises(ConfigError, match=r"no_such_compiler cannot be imported.*\[tpu-rehearsal\]"):
        rehearse(config, RehearsalConfig("v5e-8", 10, cache=""))
