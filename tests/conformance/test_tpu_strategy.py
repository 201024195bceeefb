"""TPUStrategy: everything that a run traces for it, and what is learned with its variables."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.distribute.tpu_values import TPUDistributedVariable

from tests.conformance.descriptors import STAGES, Stage
from tests.conformance.running import Running, assert_equal
from tests.conformance.tpu_strategies import TPUVariablesStrategy, TracingTPUStrategy
from tf_simclrv2.evaluation.classification import ClassificationEvaluator
from tf_simclrv2.evaluation.features import FeatureExtractor
from tf_simclrv2.progress import Progress
from tf_simclrv2.rehearsal.refusals import graphs_of, tpu_refusals
from tf_simclrv2.tasks.last_projections import LastProjections
from tf_simclrv2.training.interruptions.stop_flag import StopFlag
from tf_simclrv2.training.performance import Performance
from tf_simclrv2.training.trainer import Trainer

CORES = 2
# The frame of a program for TPUs, and what cores exchange: sums, and the first replica's counters. Their
# kernels are in TensorFlow for TPUs alone.
OF_A_TPU = {
    "AllToAll",
    "CrossReplicaSum",
    "TPUCompilationResult",
    "TPUReplicateMetadata",
    "TPUReplicatedInput",
    "TPUReplicatedOutput",
}

pytestmark = pytest.mark.usefixtures("one_block")


@pytest.fixture(scope="module")
def tpu() -> TracingTPUStrategy:
    return TracingTPUStrategy(CORES)


@pytest.fixture(scope="module")
def tpu_variables() -> TPUVariablesStrategy:
    return TPUVariablesStrategy(CORES)


def dataset_for(strategy: tf.distribute.Strategy, batch: dict[str, np.ndarray]) -> tf.data.Dataset:
    """The same share of a batch again and again, on every replica."""
    share = {name: np.split(array, CORES)[0] for name, array in batch.items()}
    return strategy.distribute_datasets_from_function(
        lambda context: tf.data.Dataset.from_tensors(share).repeat()
    )


def _operations(traced: tf.types.experimental.ConcreteFunction) -> list[tf.Operation]:
    return [op for graph in graphs_of(traced.graph) for op in graph.get_operations()]


def _types(traced: tf.types.experimental.ConcreteFunction) -> set[str]:
    return {op.type for op in _operations(traced)}


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_step_is_traced_and_nothing_in_it_refused(
    stage: Stage, replicas: Callable, tpu: TracingTPUStrategy
) -> None:
    traced = Running(stage, replicas(CORES, tpu), "mixed_bfloat16").traced
    summed = [op for op in _operations(traced) if op.type == "CrossReplicaSum"]
    assert summed and {op.inputs[0].dtype.size for op in summed} <= {2, 4}  # Bytes: a TPU sums no more.
    refused = [line for line in tpu_refusals(traced) if line.split()[0] not in OF_A_TPU]
    assert refused == []
    functions = traced.graph.as_graph_def().library.function
    assert not [f.signature.name for f in functions if "_XlaMustCompile" in f.attr]


@pytest.mark.parametrize("stop", [None, StopFlag()], ids=["to_the_end", "stoppable"])
def test_a_loop_of_steps_is_traced(tpu: TracingTPUStrategy, stop: StopFlag | None) -> None:
    stage = STAGES[1]  # With a memory: `merge_call`.
    assert stage.name == "pretrain_memory"
    batches = dataset_for(tpu, stage.batch("float32"))
    performance = Performance(batch_size=8)
    with tpu.scope():
        trainer = Trainer(stage.task("mixed_bfloat16"), batches, tpu, performance=performance, stop=stop)
    trainer.train_loop_begin()
    loop = trainer.create_train_loop_fn().get_concrete_function(iter(batches), tf.constant(100))
    assert {"CrossReplicaSum", "Conv2D", "TPUReplicateMetadata"} <= _types(loop)
    assert isinstance(trainer.task.network.variables[0].value, TPUDistributedVariable)


def test_what_is_measured_after_a_loop_is_traced(tpu: TracingTPUStrategy) -> None:
    with tpu.scope():
        kept = LastProjections(rows=4, width=3, dtype="float32")
    assert "CrossReplicaSum" in _types(tf.function(kept.of_all_replicas).get_concrete_function())


def test_evaluation_is_traced(tpu: TracingTPUStrategy) -> None:
    stage = next(stage for stage in STAGES if stage.name == "supervised")
    batch = {**stage.batch("float32"), "mask": np.ones(8, bool)}
    batches = dataset_for(tpu, {name: batch[name] for name in ("image", "label", "mask")})
    with tpu.scope():
        task = stage.task("mixed_bfloat16")
        evaluator = ClassificationEvaluator(task, batches, tpu, Progress("", 1, lambda line: None))
    evaluator.eval_begin()
    assert "Conv2D" in _types(tf.function(evaluator.eval_step).get_concrete_function(iter(batches)))
    features = FeatureExtractor(task.network, ["final_avg_pool"], tpu, "auto")
    rows = features._run.get_concrete_function(next(iter(batches)))
    assert {"Conv2D", "CrossReplicaSum"} <= _types(rows)
    assert [output.shape[0] for output in rows.outputs] == [8, 8, 8]


def _state_after(run: Running, steps: int) -> dict[str, np.ndarray]:
    for _ in range(steps):
        run.step()
    return run.state


@pytest.mark.parametrize("name", ["pretrain_memory", "finetune"])
def test_its_variables_learn_the_same(
    name: str, replicas: Callable, tpu_variables: TPUVariablesStrategy, tmp_path: pathlib.Path
) -> None:
    """`on_write` and `on_read` variables of a TPU against those of MirroredStrategy, to the last bit."""
    stage = next(stage for stage in STAGES if stage.name == name)
    mirrored, like = (Running(stage, replicas(CORES, strategy)) for strategy in (None, tpu_variables))
    variables = [variable.value for variable in like.task.network.variables]
    assert all(isinstance(variable, TPUDistributedVariable) for variable in variables)
    assert_equal(_state_after(like, 2), _state_after(mirrored, 2))
    assert (like.logs, like.gauges) == (mirrored.logs, mirrored.gauges)
    written = like.checkpoint.write(str(tmp_path / "ckpt"))
    like.step()
    for run in (like, mirrored):
        with run.strategy.scope():
            run.checkpoint.read(written).assert_consumed()
    assert_equal(_state_after(like, 1), _state_after(mirrored, 1))
