"""Makes the signatures by which a server calls an exported network."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

import tensorflow as tf

from tf_simclrv2.data.encoded_images import WHITE, Color
from tf_simclrv2.data.request_images import check_not_empty, check_shape, decode_request

# Signatures whose name is not that of their endpoint.
_SIGNATURES = {"final_avg_pool": "encoder", "logits_sup": "logits"}

Endpoints = dict[str, tf.Tensor]
# Images [N, H, W, 3] to every endpoint.
Infer = Callable[[tf.Tensor], Endpoints]


def serving_signatures(
    infer: Infer,
    images: tf.TensorSpec,
    image_size: int,
    endpoints: Iterable[str],
    background: Color = WHITE,
    class_names: Sequence[str] = (),
) -> dict[str, Callable[..., Endpoints]]:
    """Makes signatures for all features and logits together, for each alone, and for image files.

    Args:
        infer: The network in inference mode.
        images: The spec of its input.
        image_size: Side of the training images in pixels; image files are resized to it.
        endpoints: Names of the outputs of `infer`.
        background: Red, green and blue in [0, 1] behind what is transparent in an image file.
        class_names: The class of each logit, in text; () if they are not known.

    Returns:
        Functions of one named tensor that return named tensors. Of `images`: `serving_default`,
        `encoder` (h), `proj_head_0` (h) … `proj_head_L`, and `logits` where there is a classifier. Of
        `image_bytes`, string [N], JPEG or PNG files: `image_bytes`, with the outputs of `serving_default`,
        and, with class names, `classes`: the likeliest `class`, string [N], and its `probability` [N].
        All of them raise InvalidArgumentError for an empty batch and for images of another shape.
    """
    everything = served_endpoints(endpoints)

    def of_images(names: list[str]) -> Callable[..., Endpoints]:
        @tf.function(input_signature=[images])
        def signature(images: tf.Tensor) -> Endpoints:
            with tf.control_dependencies([check_shape(images)]):
                checked = tf.identity(images)
            with tf.control_dependencies([check_not_empty(checked)]):
                outputs = infer(tf.identity(checked))
            return {name: outputs[name] for name in names}

        return signature

    files = tf.TensorSpec([None], tf.string, name="image_bytes")

    @tf.function(input_signature=[files])
    def of_files(image_bytes: tf.Tensor) -> Endpoints:
        outputs = infer(tf.cast(decode_request(image_bytes, image_size, background), images.dtype))
        return {name: outputs[name] for name in everything}

    @tf.function(input_signature=[files])
    def classes(image_bytes: tf.Tensor) -> Endpoints:
        probabilities = tf.nn.softmax(of_files(image_bytes)["logits_sup"])
        best = tf.argmax(probabilities, axis=1)
        return {
            "class": tf.gather(tf.constant(class_names), best),
            "probability": tf.reduce_max(probabilities, axis=1),
        }

    return {
        "serving_default": of_images(everything),
        **{_SIGNATURES.get(name, name): of_images([name]) for name in everything},
        "image_bytes": of_files,
        **({"classes": classes} if class_names else {}),
    }


def served_endpoints(endpoints: Iterable[str]) -> list[str]:
    """Selects h, the layers of the projection head and the logits; not feature maps or published aliases."""
    return [name for name in endpoints if re.fullmatch(r"final_avg_pool|proj_head_\d+|logits_sup", name)]
