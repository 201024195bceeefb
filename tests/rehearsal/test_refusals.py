"""The walk over a graph finds what it looks for, wherever that is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from tf_simclrv2.rehearsal.refusals import tpu_refusals

X = np.linspace(-1.0, 1.0, 6, dtype="float32")


def _python(x: tf.Tensor) -> tf.Tensor:
    return tf.ensure_shape(tf.py_function(lambda y: y, [x], tf.float32), x.shape)


def _numpy(x: tf.Tensor) -> tf.Tensor:
    return tf.ensure_shape(tf.numpy_function(lambda y: y, [x], tf.float32), x.shape)


def _printed(x: tf.Tensor) -> tf.Tensor:
    tf.print(x)
    return x


def _summarized(x: tf.Tensor) -> tf.Tensor:
    tf.raw_ops.WriteScalarSummary(writer=tf.raw_ops.SummaryWriter(), step=0, tag="x", value=x[0])
    return x


def _written(x: tf.Tensor) -> tf.Tensor:
    tf.io.write_file("never", tf.io.serialize_tensor(x))
    return x


def _outside(x: tf.Tensor) -> tf.Tensor:
    with tf.compat.v1.get_default_graph()._attr_scope(
        {"_xla_outside_compilation": tf.compat.v1.AttrValue(s=b"0")}
    ):
        return x + 1.0


def _selected(x: tf.Tensor) -> tf.Tensor:
    return tf.gather(x, tf.range(tf.reduce_sum(tf.cast(x > 0, tf.int32))))


def _boxes(x: tf.Tensor) -> tf.Tensor:
    boxes = tf.stack([tf.zeros_like(x), tf.zeros_like(x), x, x], axis=1)
    return tf.image.non_max_suppression(boxes, x, 3)


BAD = {
    "EagerPyFunc": _python,
    "PyFunc": _numpy,
    "PrintV2": _printed,
    "WriteScalarSummary": _summarized,
    "WriteFile": _written,
    "AddV2": _outside,
    "Where": lambda x: tf.where(x > 0),
    "Unique": lambda x: tf.unique(x).y,
    "GatherV2": lambda x: tf.boolean_mask(x, x > 0),
    "Range": _selected,
    "NonMaxSuppressionV3": _boxes,
    "Reshape": lambda x: tf.reshape(x, tf.cast(x[:2], tf.int32)),
}


def _in_a_loop(bad: Callable) -> Callable:
    def function(x: tf.Tensor) -> tf.Tensor:
        def body(i: tf.Tensor, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            bad(x)
            return i + 1, x * 2.0

        return tf.while_loop(lambda i, x: i < 3, body, [tf.constant(0), x])[1]

    return function


def _in_a_branch_of_a_function(bad: Callable) -> Callable:
    @tf.function
    def called(x: tf.Tensor) -> tf.Tensor:
        def taken() -> tf.Tensor:
            bad(x)
            return x

        return tf.cond(x[0] > 0, taken, lambda: x)

    return _in_a_loop(called)


PLACES = {"here": lambda bad: bad, "loop": _in_a_loop, "branch": _in_a_branch_of_a_function}


def _refusals(function: Callable) -> list[str]:
    return tpu_refusals(tf.function(function).get_concrete_function(tf.TensorSpec(X.shape, tf.float32)))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("op", BAD)
def test_what_is_bad_is_found(op: str, place: str) -> None:
    assert op in {refusal.split()[0] for refusal in _refusals(PLACES[place](BAD[op]))}


@pytest.mark.parametrize("place", PLACES)
def test_what_is_good_is_not(place: str) -> None:
    def good(x: tf.Tensor) -> tf.Tensor:
        tf.debugging.Assert(x[0] < 9.0, ["x holds", x])
        positive = tf.where(x > 0, x, tf.zeros_like(x))
        return tf.reduce_sum(tf.math.top_k(positive, 2).values)

    assert _refusals(PLACES[place](good)) == []
    compiled = tf.function(PLACES[place](good), jit_compile=True)(tf.constant(X))
    np.testing.assert_array_equal(compiled, PLACES[place](good)(tf.constant(X)))


def test_a_shape_that_is_not_given_is_found() -> None:
    function = tf.function(lambda x: x * 2.0)
    refusals = tpu_refusals(function.get_concrete_function(tf.TensorSpec([None, 3], tf.float32)))
    assert {refusal.split(": ")[1] for refusal in refusals} == {"its shape (None, 3) is not static"}
