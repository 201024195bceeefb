"""A run's checkpoint: a tree of variables whose keys are their paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tf_simclrv2.errors import CheckpointError
from tf_simclrv2.models.variable_paths import named_variables, variable_tree
from tf_simclrv2.tasks import Task
from tf_simclrv2.weights.checkpoint_reader import KEY_SUFFIX, CheckpointReader


def training_checkpoint(task: Task, **more: tf.Variable) -> tf.train.Checkpoint:
    """Builds the checkpoint of a compiled task: network, optimizer and the other state of the loop."""
    state = task.checkpoint_state()
    return tf.train.Checkpoint(
        model=variable_tree(named_variables(task.network)),
        optimizer=variable_tree(named_variables(task.optimizer)),
        **({"memory": variable_tree(state)} if state else {}),
        **more,
    )


def refuse_foreign_checkpoint(checkpoint: tf.train.Checkpoint, prefix: str) -> None:
    """Checks that a training checkpoint is the one of this run before it is restored.

    Raises:
        CheckpointError: Variables are missing or superfluous, with the first names.
    """
    saved = {key for key in CheckpointReader(prefix).shapes if key.endswith(KEY_SUFFIX)}
    ours = {f"{path}{KEY_SUFFIX}" for path in _leaf_paths(checkpoint)}
    bookkeeping = {f"save_counter{KEY_SUFFIX}"}
    missing, extra = sorted(ours - saved - bookkeeping), sorted(saved - ours - bookkeeping)
    if missing or extra:
        name = (missing or extra)[0].removesuffix(KEY_SUFFIX)
        raise CheckpointError(
            f"{prefix} does not fit this run: {len(missing)} variable(s) are missing there and {len(extra)} "
            f"unknown here, the first {name}; use another --model_dir or the flags with which it was made."
        )


def _leaf_paths(checkpoint: tf.train.Checkpoint) -> list[str]:
    def walk(prefix: str, node: Any) -> list[str]:
        if isinstance(node, Mapping):
            return [path for name, child in node.items() for path in walk(f"{prefix}/{name}", child)]
        return [prefix]

    roots = {
        name: getattr(checkpoint, name) for name, _ in tf.train.TrackableView.children(checkpoint).items()
    }
    return [path for name, node in roots.items() for path in walk(name, node)]
