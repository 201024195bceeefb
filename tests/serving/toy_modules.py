"""A SavedModel of arithmetic, which is made and called in no time."""

from __future__ import annotations

import pathlib

import numpy as np
import tensorflow as tf

X = tf.TensorSpec([None, 2], tf.float32, name="x")


def save_toy(path: pathlib.Path, factor: float = 2.0) -> None:
    """Writes a SavedModel with a signature for each kind of request."""
    module = tf.Module()
    module.factor = tf.Variable(factor)

    @tf.function(input_signature=[X])
    def serving_default(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"scaled": x * module.factor, "sum": tf.reduce_sum(x, 1)}

    @tf.function(input_signature=[X])
    def company(x: tf.Tensor) -> dict[str, tf.Tensor]:
        """How many examples were computed together."""
        return {"count": tf.fill([tf.shape(x)[0]], tf.shape(x)[0])}

    @tf.function(input_signature=[X])
    def reciprocal(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": 1.0 / x}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.float32, name="a"),
            tf.TensorSpec([None], tf.int32, name="b"),
        ]
    )
    def two(a: tf.Tensor, b: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"product": a * tf.cast(b, tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec([3], tf.float32, name="v"), X])
    def whole(v: tf.Tensor, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """Not for rows, nor for company: `v` has no dimension of examples."""
        return {"v": v + 1.0, "mean": tf.reduce_mean(x)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="words")])
    def text(words: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"upper": tf.strings.upper(words), "raw_bytes": words}

    @tf.function(input_signature=[tf.TensorSpec([], tf.string, name="word")])
    def scalar(word: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"twice": word + word}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.uint8, name="small")])
    def small(small: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"even": small % 2 == 0}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def image_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        def mean(contents: tf.Tensor) -> tf.Tensor:
            image = tf.io.decode_image(contents, channels=3, expand_animations=False)
            return tf.reduce_mean(tf.cast(image, tf.float32), [0, 1])

        return {"mean": tf.map_fn(mean, image_bytes, fn_output_signature=tf.TensorSpec([3], tf.float32))}

    functions = (serving_default, company, reciprocal, two, whole, text, scalar, small, image_bytes)
    tf.saved_model.save(
        module, str(path), signatures={function.python_function.__name__: function for function in functions}
    )


def png(value: int, side: int = 4) -> bytes:
    """A picture of one gray."""
    return tf.io.encode_png(np.full([side, side, 3], value, np.uint8)).numpy()
