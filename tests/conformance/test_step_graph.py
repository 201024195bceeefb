"""What the graph of a step holds as GPUs take it uncompiled: kernels, exchanges, and nothing else."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator

import pytest
import tensorflow as tf
from tensorflow.python.framework import kernels

from tests.conformance.descriptors import STAGES, Stage
from tests.conformance.running import Running
from tf_simclrv2.distribution import devices
from tf_simclrv2.models import resnet
from tf_simclrv2.models.batch_norm import BatchNormRelu
from tf_simclrv2.objectives.collapse import effective_rank
from tf_simclrv2.private_api import layers_within
from tf_simclrv2.rehearsal.refusals import graphs_of
from tf_simclrv2.training.performance import Performance
from tf_simclrv2.training.trainer import Trainer

REPLICAS = 2
BY_NAME = {stage.name: stage for stage in STAGES}


@pytest.fixture(autouse=True)
def _as_on_an_accelerator(one_block: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "on_cpu", lambda: False)


def _operations(function: tf.types.experimental.ConcreteFunction) -> Iterator[tf.Operation]:
    for graph in graphs_of(function.graph):
        yield from graph.get_operations()


def _without_a_kernel(function: tf.types.experimental.ConcreteFunction) -> set[str]:
    """Types of the operations that a GPU leaves to the host; texts of messages are always there."""
    return {
        op.type
        for op in _operations(function)
        if not any(kernel.device_type in ("GPU", "DEFAULT") and _takes(kernel, op) for kernel in _kernels(op))
        and tf.string not in {output.dtype for output in op.outputs}
    }


def _kernels(op: tf.Operation) -> list:
    return kernels.get_registered_kernels_for_op(op.type).kernel


def _takes(kernel: object, op: tf.Operation) -> bool:
    """Whether a kernel is for the dtypes of an operation."""
    found = {item.name: op.node_def.attr[item.name] for item in kernel.constraint}
    return all(
        set(found[item.name].list.type or [found[item.name].type]) <= set(item.allowed_values.list.type)
        for item in kernel.constraint
    )


def _decomposes(function: tf.types.experimental.ConcreteFunction) -> bool:
    return not {op.type for op in _operations(function)}.isdisjoint({"SelfAdjointEigV2", "Svd"})


@pytest.mark.skipif(not tf.test.is_built_with_cuda(), reason="this TensorFlow has no kernels for GPUs")
@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_step_stays_on_the_gpu(stage: Stage, replicas: Callable) -> None:
    """No operation lacks a kernel there, and no eigenvalues are computed."""
    traced = Running(stage, replicas(1), "mixed_bfloat16").traced
    assert _without_a_kernel(traced) == set()
    assert not _decomposes(traced)


def test_what_does_not_stay_on_the_gpu_is_found() -> None:
    """What steps did before."""
    pairs = tf.TensorSpec([4, 2], tf.uint32)
    unstacked = tf.function(lambda x: tf.unstack(x, axis=1)).get_concrete_function(pairs)
    assert _without_a_kernel(unstacked) == {"Unpack"}
    rank = tf.function(effective_rank).get_concrete_function(tf.TensorSpec([8, 4]))
    assert _decomposes(rank)


def _summed(run: Running) -> collections.Counter[int]:
    """How many sums over the replicas a step makes, by the number of values."""
    sums = (op for op in _operations(run.traced) if op.type == "CollectiveReduceV2")
    sizes = collections.Counter(op.inputs[0].shape.num_elements() for op in sums)
    return collections.Counter({size: count // REPLICAS for size, count in sizes.items()})


@pytest.mark.parametrize(("name", "few"), [("pretrain", 6), ("finetune", 1)])
def test_batch_norm_exchanges_once_forward_and_once_backward(
    name: str, few: int, replicas: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All gradients travel in one pack, and what else there is does not depend on the depth.

    It is NT-Xent's gathering of two views, with its gradient, and single numbers.
    """
    others = []
    for blocks in (1, 3):
        monkeypatch.setitem(resnet.BLOCKS_PER_GROUP, 18, (0, 0, 0, blocks))
        run = Running(BY_NAME[name], replicas(REPLICAS), "float32")
        weights = run.task.network.trainable_variables
        expected = collections.Counter([sum(weight.value.shape.num_elements() for weight in weights)])
        for layer in layers_within(run.task):
            if isinstance(layer, BatchNormRelu):
                moments = 2 * layer.gamma.shape[0]
                expected.update([REPLICAS * moments, moments])
        assert expected.total() > 10 and not expected - _summed(run)
        others.append(_summed(run) - expected)
    assert others[0] == others[1] and others[0].total() == few


@pytest.mark.parametrize("measured", [True, False])
def test_the_clock_is_the_hosts_alone(measured: bool, replicas: Callable) -> None:
    """Not one for each replica; and there is none where nobody measures."""
    stage, spread = BY_NAME["finetune"], replicas(REPLICAS)
    performance = Performance(batch_size=8) if measured else None
    with spread.scope():
        trainer = Trainer(stage.task("float32"), None, spread.strategy, performance=performance)
    batches = spread.strategy.experimental_distribute_dataset(
        tf.data.Dataset.from_tensors(stage.batch("float32")).repeat()
    )
    step = tf.function(trainer.train_step).get_concrete_function(iter(batches))
    clocks = [op for op in _operations(step) if op.type == "Timestamp"]
    added = [op for op in _operations(step) if op.type == "AssignAddVariableOp"]
    assert len(clocks) == 2 * measured
    assert sum(op.inputs[1].dtype == tf.float64 for op in added) == measured
    if performance is not None:
        assert performance._waited.device.endswith("CPU:0")
