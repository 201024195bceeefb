"""Image files in a request: which ones a server accepts, and how it decodes them."""

from __future__ import annotations

import tensorflow as tf

from tf_simclrv2.data.augmentation import evaluation_view
from tf_simclrv2.data.encoded_images import WHITE, Color, decode_image, is_jpeg
from tf_simclrv2.data.png_chunks import is_png, png_size

# A request's image may not take more memory than this many pixels do: 12 bytes each while it is resized.
MAX_PIXELS = 50_000_000
# Nothing can be seen in less.
MIN_SIDE = 2


def decode_request(contents: tf.Tensor, size: int, background: Color = WHITE) -> tf.Tensor:
    """Decodes a request's images, looking at each one's size before any memory is taken for it.

    Args:
        contents: string [N], JPEG or PNG files.
        size: Side of the result in pixels.
        background: Red, green and blue in [0, 1] behind what is transparent; white by default.

    Returns:
        float32 [N, size, size, 3] in [0, 1], as evaluation sees them.

    Raises:
        tf.errors.InvalidArgumentError: There is no image; or one is neither JPEG nor PNG, incomplete,
            below `MIN_SIDE` pixels a side or above `MAX_PIXELS` in all.

    Example:
        >>> decode_request(tf.constant([png]), 224).shape
        TensorShape([1, 224, 224, 3])
    """

    def decode(index: tf.Tensor) -> tf.Tensor:
        with tf.control_dependencies([_check_size(contents[index], index)]):
            image = decode_image(tf.identity(contents[index]), background, portable=True)
        return evaluation_view(image, size)

    with tf.control_dependencies([check_not_empty(contents)]):
        indices = tf.range(tf.size(contents))
    return tf.map_fn(
        decode,
        indices,
        # Two images at a time: a core each, and never more than two large ones in memory.
        parallel_iterations=2,
        fn_output_signature=tf.TensorSpec([size, size, 3], tf.float32),
    )


def check_not_empty(batch: tf.Tensor) -> tf.Operation:
    """Refuses a batch of nothing.

    Args:
        batch: [N, ...].

    Raises:
        tf.errors.InvalidArgumentError: N is 0.
    """
    return _refuse_unless(tf.shape(batch)[0] > 0, ["The request holds no images; send at least one."])


def check_shape(images: tf.Tensor) -> tf.Operation:
    """Refuses images of another rank or number of channels than their static shape says.

    A server does not compare a request with the shape in the signature, and the convolution of a rank-3
    tensor would crash its process.

    Args:
        images: [N, H, W, C]. An op that must not run before the check needs a control dependency on it.

    Raises:
        tf.errors.InvalidArgumentError: The shape is another one.
    """
    # The placeholder keeps TensorFlow from trusting the static shape. The network does not read from it,
    # since a converter to ONNX would take it for an input.
    shape = tf.shape(tf.raw_ops.PlaceholderWithDefault(input=images, shape=tf.TensorShape(None)))
    channels = images.shape[-1]
    accepted = tf.equal(tf.size(shape), images.shape.rank) & tf.reduce_all(tf.equal(shape[-1:], channels))
    expected = f"; send [N, height, width, {channels}]."
    return _refuse_unless(accepted, ["The images of the request have the shape", shape, expected])


def _check_size(contents: tf.Tensor, index: tf.Tensor) -> tf.Operation:
    jpeg = is_jpeg(contents)
    message = ["Image", index, "of the request is neither JPEG nor PNG."]
    known = _refuse_unless(jpeg | is_png(contents), message)
    with tf.control_dependencies([known]):
        height, width = tf.cond(jpeg, lambda: _jpeg_size(contents), lambda: png_size(contents))
    accepted = (
        (tf.minimum(height, width) >= MIN_SIDE)
        # As float64, since the product of two 32-bit numbers may not fit into an integer.
        & (tf.cast(height, tf.float64) * tf.cast(width, tf.float64) <= MAX_PIXELS)
    )
    message = [f"pixels; sides must be at least {MIN_SIDE}, and all pixels together at most {MAX_PIXELS}."]
    return _refuse_unless(accepted, ["Image", index, "of the request has", height, "x", width, *message])


def _refuse_unless(condition: tf.Tensor, message: list) -> tf.Operation:
    # As an op in a graph, so that the caller can order what must not run before it.
    return tf.group(tf.debugging.Assert(condition, message))


def _jpeg_size(contents: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    height, width, _ = tf.unstack(tf.cast(tf.io.extract_jpeg_shape(contents), tf.int64), num=3)
    return height, width
