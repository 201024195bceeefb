"""Checkpoints as the published programs write them, made from the listings of their keys alone."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

from tests.goldens import published_variables, value

LISTINGS = pathlib.Path(__file__).parent / "goldens" / "variables"
SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


class Row(NamedTuple):
    """One tensor of a checkpoint and the name that its variable had in the program."""

    key: str
    shape: tuple[int, ...]
    name: str


def tf1_rows(config: str) -> list[Row]:
    lines = (LISTINGS / f"tf1_{config}.tsv").read_text().splitlines()
    rows = [line.split("\t") for line in lines]
    return [Row(name, tuple(int(n) for n in shape.strip("[]").split(",") if n), name) for name, shape in rows]


def listed_rows(listing: str) -> list[Row]:
    """The rows of `savedmodel_r18_keys` or `checkpoint_r18_keys`, without the graph of objects."""
    lines = (LISTINGS / f"{listing}.tsv").read_text().splitlines()[1:]
    rows = [line.split("\t") for line in lines]
    return [
        Row(key, tuple(int(n) for n in shape.split(",") if n), name)
        for key, shape, _, name in rows
        if key != OBJECT_GRAPH
    ]


def saved_model_rows(config: str) -> list[Row]:
    """The keys of a SavedModel of any config, by the rule that the listing of r18 follows.

    Trainable variables are numbered over the model, moving averages within their part.
    """
    rows, trainable, places = [], 0, {}
    for name, shape, is_trainable in published_variables(config):
        part = name.split("/", 1)[0]
        place = places[part] = places.get(part, -1) + 1
        path = {"resnet": "resnet_model", "projection_head": "_projection_head"}.get(part, part)
        key = f"trainable_variables_list/{trainable}" if is_trainable else f"model/{path}/variables/{place}"
        trainable += is_trainable
        rows.append(Row(key + SUFFIX, shape, name))
    return rows


def write_checkpoint(
    prefix: pathlib.Path,
    rows: Iterable[Row],
    make: Callable[[str, tuple[int, ...]], np.ndarray] = value,
    graph: bool = True,
) -> str:
    """Writes the tensors `make(name, shape)` under their keys; returns the prefix.

    Args:
        prefix: Where.
        rows: What.
        make: Gives the values.
        graph: With the graph of objects that TensorFlow 2 adds.
    """
    prefix.parent.mkdir(parents=True, exist_ok=True)
    rows = list(rows)
    tensors: dict[str, tf.Tensor] = {row.key: tf.constant(make(row.name, row.shape)) for row in rows}
    if graph:
        tensors[OBJECT_GRAPH] = tf.constant(_object_graph(rows).SerializeToString())
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=list(tensors.values()),
    )
    return str(prefix)


def zeros(_: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.zeros(shape, np.float32)


def _object_graph(rows: Iterable[Row]) -> TrackableObjectGraph:
    graph = TrackableObjectGraph()
    graph.nodes.add()
    numbers: dict[str, int] = {"": 0}

    def node(path: str) -> int:
        if path not in numbers:
            parent = node(path.rpartition("/")[0])
            numbers[path] = len(graph.nodes)
            graph.nodes.add()
            graph.nodes[parent].children.add(node_id=numbers[path], local_name=path.rpartition("/")[2])
        return numbers[path]

    for row in rows:
        number = node(row.key.removesuffix(SUFFIX))
        graph.nodes[number].attributes.add(name="VARIABLE_VALUE", full_name=row.name, checkpoint_key=row.key)
    return graph


def shapes_by_name(rows: Iterable[Row]) -> dict[str, tuple[int, ...]]:
    return {row.name: row.shape for row in rows}


class PublishedObject(tf.Module):
    """An object of the published program: attributes as its checkpoint's keys name them, and lists."""


def published_objects(variables: Mapping[str, tf.Variable]) -> tf.Module | list | tf.Variable:
    """Objects with these variables by attribute path; numbers become places in lists."""
    if "" in variables:
        return variables[""]
    parts: dict[str, dict[str, tf.Variable]] = {}
    for path, variable in variables.items():
        first, _, rest = path.partition("/")
        parts.setdefault(first, {})[rest] = variable
    if all(name.isdigit() for name in parts):
        places = range(max(map(int, parts)) + 1)
        return [published_objects(parts[str(i)]) if str(i) in parts else tf.Module() for i in places]
    made = PublishedObject()
    for name, inner in parts.items():
        setattr(made, name, published_objects(inner))
    return made
