"""Every task's whole step: replicas, XLA, what a TPU refuses, and half precision."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.conformance.descriptors import STAGES, Stage
from tests.conformance.running import Running, assert_close, assert_equal
from tf_simclrv2.config import TrainingConfig
from tf_simclrv2.distribution import devices
from tf_simclrv2.distribution.compile_only import CompileOnlyStrategy
from tf_simclrv2.rehearsal.refusals import graphs_of, tpu_refusals
from tf_simclrv2.setting import settings_of
from tf_simclrv2.tasks import Task
from tf_simclrv2.training.interruptions.stop_flag import StopFlag
from tf_simclrv2.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_block")

every_stage = pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
# One with blur and two views and one with labels, for what does not depend on the stage.
two_stages = pytest.mark.parametrize(
    "stage",
    [stage for stage in STAGES if stage.name in ("pretrain", "finetune")],
    ids=lambda stage: stage.name,
)


@every_stage
def test_replicas_do_not_matter(stage: Stage, replicas: Callable, tmp_path: pathlib.Path) -> None:
    """Not in what is learned, and not in a checkpoint, which continues on any number of them."""
    runs = {count: Running(stage, replicas(count)) for count in (1, 2, 4)}
    alone = runs[1]
    start = alone.state
    for run in runs.values():
        run.step()
        run.step()
        assert_close(run.state, alone.state, 1e-9)
        assert run.logs == pytest.approx(alone.logs, rel=1e-9, abs=1e-12)
        assert run.gauges == pytest.approx(alone.gauges, rel=1e-9)
        for path, copies in run.copies.items():
            assert len(copies) == run.strategy.num_replicas_in_sync
            for copy in copies[1:]:
                np.testing.assert_array_equal(copy, copies[0], err_msg=path)
    assert any(np.any(start[path] != value) for path, value in alone.state.items())
    saved = runs[2].state
    written = runs[2].checkpoint.write(str(tmp_path / "ckpt"))
    runs[2].step()
    for count in (1, 4):
        run = runs[count]
        run.step()
        with run.strategy.scope():
            run.checkpoint.read(written).assert_consumed()
        assert_equal(run.state, saved)
        run.step()
        assert_close(run.state, runs[2].state, 1e-9)


def _as_on_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "on_cpu", lambda: False)


@pytest.mark.parametrize("precision, loss, weights", [("float32", 1e-4, 1e-4), ("float64", 1e-9, 1e-9)])
@every_stage
def test_xla_does_not_matter(
    stage: Stage, replicas: Callable, precision: str, loss: float, weights: float
) -> None:
    plain, compiled = (Running(stage, replicas(1), precision, jit) for jit in (False, True))
    assert "_XlaMustCompile" in compiled.traced.function_def.attr
    for run in (plain, compiled):
        run.step()
    assert compiled.logs == pytest.approx(plain.logs, rel=loss, abs=1e-12)
    assert_close(compiled.state, plain.state, weights)


@two_stages
def test_accelerators_make_the_same_step(
    stage: Stage, replicas: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is traced for them, compiled on one replica and exchanged between two, against a CPU's."""
    on_cpu = Running(stage, replicas(1))
    _as_on_an_accelerator(monkeypatch)
    compiled, spread = Running(stage, replicas(1), jit=True), Running(stage, replicas(2))
    for run in (on_cpu, compiled, spread):
        run.step()
    assert_close(compiled.state, on_cpu.state, 1e-9)
    assert_close(spread.state, on_cpu.state, 1e-9)


class Core:
    """A TPU's only core, for which a step can be traced; several are in `test_tpu_strategy.py`."""

    def __init__(self) -> None:
        self.strategy = CompileOnlyStrategy(1)
        self.scope = self.strategy.scope
        self.distribute = tf.constant


@every_stage
def test_a_tpu_refuses_nothing(stage: Stage) -> None:
    """Neither an operation, nor a function that is to be compiled on its own within the step."""
    traced = Running(stage, Core(), "mixed_bfloat16").traced
    assert tpu_refusals(traced) == []
    functions = traced.graph.as_graph_def().library.function
    assert functions and not [f.signature.name for f in functions if "_XlaMustCompile" in f.attr]


@pytest.mark.parametrize("stop", [None, StopFlag()], ids=["to_the_end", "stoppable"])
def test_steps_are_one_loop_without_summaries(replicas: Callable, stop: StopFlag | None) -> None:
    stage, strategy = STAGES[0], replicas(1).strategy
    batches = tf.data.Dataset.from_tensors(stage.batch("float32")).repeat()
    trainer = Trainer(stage.task("float32"), batches, strategy, stop=stop)
    loop = trainer.create_train_loop_fn().get_concrete_function(iter(batches), tf.constant(100))
    around, *within = [{op.type for op in graph.get_operations()} for graph in graphs_of(loop.graph)]
    assert {"While", "StatelessWhile"} & around
    assert "Conv2D" not in around and any("Conv2D" in types for types in within)
    assert not any("Summary" in op_type for types in (around, *within) for op_type in types)


def _first_loss_and_gradient(stage: Stage, precision: str) -> tuple[tf.Tensor, np.ndarray]:
    task = stage.task(precision)
    batch = {name: tf.constant(array) for name, array in stage.batch(precision).items()}
    with tf.GradientTape() as tape:
        losses, _ = task.objective(batch)
        loss = tf.add_n(list(losses.values()))
    gradients = tape.gradient(loss, [variable.value for variable in task.network.trainable_variables])
    return loss, np.concatenate([gradient.numpy().ravel() for gradient in gradients])


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@every_stage
def test_half_precision_is_close_to_float32(stage: Stage, policy: str) -> None:
    want, direction = _first_loss_and_gradient(stage, "float32")
    got, other = _first_loss_and_gradient(stage, policy)
    assert got.dtype == tf.float32
    assert float(got) == pytest.approx(float(want), rel=5e-3)
    cosine = other @ direction / np.linalg.norm(other) / np.linalg.norm(direction)
    assert 0.98 < cosine < 1.0 - 1e-6


def _losses(stage: Stage, spread: Any, precision: str, steps: int) -> list[float]:
    """The loss before each step that was made; float16 skips some until the scale is small enough."""
    run, found = Running(stage, spread, precision), []
    while (done := int(run.task.global_step.numpy())) < steps:
        for metric in run.task.metrics:
            metric.reset_state()
        run.step()
        if int(run.task.global_step.numpy()) > done:
            found.append(run.logs["total_loss"])
    assert all(np.isfinite(value).all() for value in run.state.values())
    return found


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@two_stages
def test_half_precision_learns_as_float32_does(stage: Stage, policy: str, replicas: Callable) -> None:
    want, got = (_losses(stage, replicas(1), precision, 4) for precision in ("float32", policy))
    assert want[-1] < want[0]
    assert got == pytest.approx(want, rel=1e-2)


@two_stages
def test_an_overflow_on_one_replica_is_skipped_by_all(stage: Stage, replicas: Callable) -> None:
    """Keras alone looks at the first one only."""
    poison = tf.Variable(float("inf"))
    run = Running(stage, replicas(2), "mixed_float16", poison=poison)
    before, scale = run.state, float(np.asarray(run.task.optimizer.dynamic_scale))
    run.step()
    moving = ("moving_mean", "moving_variance", "dynamic_scale", "step_counter", "memory/", "optimizer/")
    for path, value in run.state.items():
        if not any(name in path for name in moving):
            np.testing.assert_array_equal(value, before[path], err_msg=path)
    assert all(np.isfinite(value).all() for value in run.state.values())
    assert int(run.task.global_step.numpy()) == 0
    assert float(np.asarray(run.task.optimizer.dynamic_scale)) == scale / 2
    poison.assign(0.0)
    for _ in range(6):  # Until the scale is small enough for float16.
        run.step()
    assert int(run.task.global_step.numpy()) >= 1
    assert any(np.any(value != before[path]) for path, value in run.state.items() if "kernel" in path)
    assert all(np.isfinite(value).all() for value in run.state.values())


def _subclasses(cls: type) -> Iterator[type]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def test_every_task_is_listed() -> None:
    ours = {cls for cls in _subclasses(Task) if cls.__module__.startswith("tf_simclrv2")}
    assert {type(stage.task("float32")) for stage in STAGES} == ours
    modes = settings_of(TrainingConfig)["train_mode"].choices
    assert {stage.config("float32").training.train_mode for stage in STAGES} == set(modes)
    assert len(ours) >= 3
