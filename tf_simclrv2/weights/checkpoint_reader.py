"""Reads a checkpoint on disk: finds its files, lists its tensors and loads them one at a time."""

from __future__ import annotations

import functools
import os
import re

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

from tf_simclrv2.errors import CheckpointError
from tf_simclrv2.literal_path import literal_path

KEY_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
# The prefix of a SavedModel's variables.
_IN_SAVED_MODEL = "/variables/variables"
_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
# A checkpoint of this package; names of published ones vary.
_OWN_INDEX = re.compile(r"ckpt-(\d+)\.index")
# What follows a checkpoint's prefix in the names of its files.
_ONE_FILE = re.compile(r"\.(index|data-\d+-of-\d+|meta)$")
# What TensorFlow's reader raises depends on which byte is wrong.
READ_ERRORS = (tf.errors.OpError, ValueError, RuntimeError, IndexError, TypeError)


def find_prefix(path: str, setting: str = "checkpoint") -> str:
    """Returns the prefix of a checkpoint's files, as TensorFlow's reader takes it.

    Args:
        path: A directory with checkpoints (the newest is taken), a prefix or a SavedModel.
        setting: The name of the setting that holds the path, for error messages.

    Raises:
        CheckpointError: There is no checkpoint.
    """
    if tf.io.gfile.exists(path + ".index"):
        return path
    if tf.io.gfile.exists(f"{path.rstrip('/')}{_IN_SAVED_MODEL}.index"):
        return f"{path.rstrip('/')}{_IN_SAVED_MODEL}"
    prefix = _newest(path)
    if prefix is None:
        raise CheckpointError(f"{setting} is {path!r}, {_why_none(path)}.")
    return prefix


def _why_none(path: str) -> str:
    """Why there is no checkpoint at a path, and what to pass in its place."""
    prefix = _ONE_FILE.sub("", path)
    if prefix != path and tf.io.gfile.exists(f"{prefix}.index"):
        return f"one of the files of a checkpoint; pass {prefix!r}, which stands for all of them"
    cure = "a model_dir, a ckpt-N inside one, an exported SavedModel, or a published checkpoint"
    problem = "but there is no checkpoint in it" if tf.io.gfile.exists(path) else "which does not exist"
    return f"{problem}; pass {cure}"


def _newest(directory: str) -> str | None:
    """As `tf.train.latest_checkpoint`, which would take the directory for a pattern.

    What is on disk counts, not the state file, which may be lost or outdated.
    """
    if own := newest_checkpoint(directory):
        return own
    state = tf.train.get_checkpoint_state(directory)
    prefix = state and state.model_checkpoint_path
    # TensorFlow 1 once wrote checkpoints of a single file.
    return prefix if prefix and any(map(tf.io.gfile.exists, (f"{prefix}.index", prefix))) else None


def newest_checkpoint(directory: str) -> str | None:
    """Returns the prefix of this package's newest checkpoint that was saved to its end; None without one."""
    names = tf.io.gfile.listdir(directory) if tf.io.gfile.isdir(directory) else []
    steps = [int(found[1]) for name in names if (found := _OWN_INDEX.fullmatch(name))]
    return os.path.join(directory, f"ckpt-{max(steps)}") if steps else None


class CheckpointReader:
    """Reads the tensors of a TensorFlow 1 or 2 checkpoint by key, without building a network.

    Args:
        prefix: A prefix that `find_prefix` returned.

    Attributes:
        prefix: The prefix of the checkpoint's files.
        shapes: Shape of every tensor by key.

    Raises:
        CheckpointError: The files are damaged.

    Example:
        >>> CheckpointReader("/tmp/run/ckpt-10").shapes["model/supervised_head/bias" + KEY_SUFFIX]
        (10,)
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        try:
            self._reader = tf.train.load_checkpoint(literal_path(prefix))
            stored = self._reader.get_variable_to_shape_map()
        except READ_ERRORS as error:
            raise self._damaged(error) from error
        self.shapes = {key: tuple(shape) for key, shape in stored.items()}

    @property
    def name(self) -> str:
        """How a person names it: a SavedModel by its directory, others by the prefix."""
        return self.prefix.removesuffix(_IN_SAVED_MODEL)

    def tensor(self, key: str) -> np.ndarray:
        """Loads one tensor.

        Raises:
            CheckpointError: The files are damaged.
        """
        try:
            return self._reader.get_tensor(key)
        except READ_ERRORS as error:
            raise self._damaged(error) from error

    @functools.cached_property
    def graph(self) -> TrackableObjectGraph | None:
        """The object graph that TensorFlow 2 stores; None for a TensorFlow 1 checkpoint."""
        if _OBJECT_GRAPH not in self.shapes:
            return None
        return TrackableObjectGraph.FromString(self.tensor(_OBJECT_GRAPH))

    def children(self, *names: str) -> dict[str, int]:
        """Returns the node numbers of the children of the object at the path `names`; {} if there is none."""
        node = 0
        for name in names:
            node = self._children(node).get(name, -1)
        return self._children(node)

    def keys_by_path(self, *names: str) -> dict[str, str]:
        """Returns the key of every variable below the object at the path `names`, by its path from there.

        A SavedModel stores a variable under the first of the names that lead to it, so its key may differ
        from its path.
        """
        found: dict[str, str] = {}
        seen: set[int] = set()
        nodes = list(self.children(*names).items())
        while self.graph and nodes:
            path, node = nodes.pop()
            if node in seen:  # Other programs' objects may lead back to themselves.
                continue
            seen.add(node)
            attributes = self.graph.nodes[node].attributes
            if attributes:
                found[path] = attributes[0].checkpoint_key
            nodes += [(f"{path}/{name}", child) for name, child in self._children(node).items()]
        return found

    def keys_by_full_name(self) -> dict[str, str]:
        """Returns the key of every variable by the name it had in its program; {} if no name was recorded."""
        nodes = self.graph.nodes if self.graph else ()
        attributes = [attribute for node in nodes for attribute in node.attributes]
        return {a.full_name.removesuffix(":0"): a.checkpoint_key for a in attributes if a.full_name}

    def _children(self, node: int) -> dict[str, int]:
        if self.graph is None or node < 0:
            return {}
        return {child.local_name: child.node_id for child in self.graph.nodes[node].children}

    def _damaged(self, error: Exception) -> CheckpointError:
        if not tf.io.gfile.exists(self.prefix + ".index"):
            return CheckpointError(
                f"checkpoint {self.name} was removed while it was read, because a training run removes "
                "its older ones; run the same command again."
            )
        reason = str(error).strip().split("\n")[0]
        return CheckpointError(
            f"checkpoint {self.name} cannot be read ({reason}); it is damaged or incomplete: fetch it again."
        )
