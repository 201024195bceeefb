"""What a server can ask an exported network for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import tensorflow as tf

from tf_simclrv2.data.encoded_images import check_not_empty, decode_request

# Signatures that are not called as their endpoint is.
_SIGNATURES = {"final_avg_pool": "encoder", "logits_sup": "logits"}

Endpoints = dict[str, tf.Tensor]
# Images [N, H, W, 3] to every endpoint.
Infer = Callable[[tf.Tensor], Endpoints]


def serving_signatures(
    infer: Infer, images: tf.TensorSpec, image_size: int, endpoints: Iterable[str]
) -> dict[str, Callable[..., Endpoints]]:
    """All features and logits at once, each alone, and all of them from image files.

    Args:
        infer: The network in inference mode.
        images: What it takes.
        image_size: Side of the images that it was trained on, in pixels; files are brought to it.
        endpoints: Names of what `infer` returns.

    Returns:
        Functions of one named tensor that return named tensors. Of `images`: `serving_default`,
        `encoder` (h), `proj_head_0` (h) … `proj_head_L`, and `logits` where there is a classifier. Of
        `image_bytes`, string [N], JPEG or PNG files: `image_bytes`, the outputs of `serving_default`.
        All raise InvalidArgumentError on a batch of nothing and on images of another shape.
    """
    everything = served_endpoints(endpoints)

    def of_images(names: list[str]) -> Callable[..., Endpoints]:
        @tf.function(input_signature=[images])
        def signature(images: tf.Tensor) -> Endpoints:
            images = _checked_shape(images)
            with tf.control_dependencies([check_not_empty(images)]):
                outputs = infer(tf.identity(images))
            return {name: outputs[name] for name in names}

        return signature

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def of_files(image_bytes: tf.Tensor) -> Endpoints:
        outputs = infer(tf.cast(decode_request(image_bytes, image_size), images.dtype))
        return {name: outputs[name] for name in everything}

    return {
        "serving_default": of_images(everything),
        **{_SIGNATURES.get(name, name): of_images([name]) for name in everything},
        "image_bytes": of_files,
    }


def _checked_shape(images: tf.Tensor) -> tf.Tensor:
    """Refuses images of another rank or number of channels while running.

    A server does not compare a request with the signature's shape, and a convolution of a tensor of
    rank 3 ends its process. The placeholder keeps TensorFlow from trusting that shape either.
    """
    unknown = tf.raw_ops.PlaceholderWithDefault(input=images, shape=tf.TensorShape(None))
    return tf.ensure_shape(unknown, images.shape)


def served_endpoints(endpoints: Iterable[str]) -> list[str]:
    """h, each layer of the projection head and the logits: neither feature maps nor published aliases."""
    return [name for name in endpoints if re.fullmatch(r"final_avg_pool|proj_head_\d+|logits_sup", name)]
