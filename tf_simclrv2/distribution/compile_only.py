"""A strategy for devices that are not there: its steps can be compiled for a TPU slice, but not run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_simclrv2.private_api import core_number, sum_over_cores


class CompileOnlyStrategy(tf.distribute.Strategy):
    """Has each replica's sums, averages and index as XLA's own operations, so that a step compiles anywhere.

    A step that is traced under `run` is the program of every core of a slice. Layers, losses and Keras's
    optimizers find what they find on a TPU: a replica context, `all_reduce`, and `merge_call`, whose function
    sees this core's tensors as those of all replicas. The variables are plain ones, of which every core has
    its own copy.

    Taken over from `TPUStrategy`: the number of replicas, sums over replicas in the types that a TPU can sum
    (16 and 32 bits), updates and reductions within a step, and loops that sum over replicas. Not proved by
    it: the resolver, the infeed, and the variables of `TPUStrategy`, which also check and broadcast what is
    assigned to them.

    Args:
        replicas: The number of cores, at least 1.

    Example:
        >>> strategy = CompileOnlyStrategy(8)
        >>> with strategy.scope():
        ...     task = build_task(config)
        >>> step = tf.function(lambda batch: strategy.run(task.train_step, (batch,)), jit_compile=True)
        >>> step.get_concrete_function(specs)  # To call it fails: there is no such slice.
    """

    def __init__(self, replicas: int) -> None:
        super().__init__(_Extended(self, replicas))


class _ReplicaContext(tf.distribute.ReplicaContext):
    @property
    def replica_id_in_sync_group(self) -> tf.Tensor:
        return core_number()


# The class of that name in `tf.distribute` lacks what `Strategy.run` calls.
class _Extended(tf.compat.v1.distribute.StrategyExtended):
    """What `tf.distribute` asks of a strategy; only what a step needs is here."""

    def __init__(self, strategy: tf.distribute.Strategy, replicas: int) -> None:
        super().__init__(strategy)
        self._replicas = replicas

    @property
    def _num_replicas_in_sync(self) -> int:
        return self._replicas

    @property
    def should_checkpoint(self) -> bool:
        return False

    @property
    def experimental_require_static_shapes(self) -> bool:
        return True

    def _use_merge_call(self) -> bool:
        return True

    def _in_multi_worker_mode(self) -> bool:
        return False

    def _get_local_replica_id(self, replica_id_in_sync_group: Any) -> Any:
        return replica_id_in_sync_group

    def _create_variable(self, next_creator: Callable[..., tf.Variable], **kwargs: Any) -> tf.Variable:
        kwargs.pop("colocate_with", None)
        return next_creator(**kwargs)

    def value_container(self, value: Any) -> Any:
        return value

    def _local_results(self, value: Any) -> tuple[Any, ...]:
        return (value,)

    def _call_for_each_replica(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        with _ReplicaContext(self._container_strategy(), None):
            return fn(*args, **kwargs)

    def _update(self, var: tf.Variable, fn: Callable[..., Any], args: Any, kwargs: Any, group: bool) -> Any:
        updated = fn(var, *args, **kwargs)
        return tf.group(updated) if group else updated

    def _reduce_to(self, reduce_op: tf.distribute.ReduceOp, value: Any, *_: Any) -> Any:
        return self._replica_ctx_all_reduce(reduce_op, value)

    def _replica_ctx_all_reduce(self, reduce_op: tf.distribute.ReduceOp, value: Any, *_: Any) -> Any:
        def reduce(x: tf.Tensor) -> tf.Tensor:
            total = sum_over_cores(x, self._replicas)
            return total if reduce_op == tf.distribute.ReduceOp.SUM else total / self._replicas

        return tf.nest.map_structure(reduce, value)
