"""A convolution and the batch norm behind it, which inference folds into the kernel."""

from __future__ import annotations

import tensorflow as tf

from tf_simclrv2.models.batch_norm import BatchNormRelu
from tf_simclrv2.models.conv import Conv2DFixedPadding

# A batch of this size or more gains.
FEW_IMAGES = 8


def convolve_and_normalize(
    conv: Conv2DFixedPadding,
    norm: BatchNormRelu,
    x: tf.Tensor,
    training: bool,
    update_statistics: bool = True,
) -> tf.Tensor:
    """`norm(conv(x))`, in inference mode with fewer passes over the feature map.

    There batch norm is a factor and an offset for each channel. The factor goes into the kernel and the
    offset is a bias, which TensorFlow computes, with the ReLU, inside the convolution.

    Args:
        conv: Built.
        norm: Built, over the channels of `conv`.
        x: [N, H, W, C].
        training: See `BatchNormRelu`.
        update_statistics: See `BatchNormRelu`.

    Returns:
        What `norm` returns.
    """
    if not norm.is_frozen(training) or not _is_worth_it(conv, x):
        return norm(conv(x), training=training, update_statistics=update_statistics)
    kernel = tf.convert_to_tensor(conv.kernel)
    scale, offset = norm.moving_scale_and_offset(kernel.dtype)
    y = tf.nn.bias_add(conv.convolve(x, kernel * scale), tf.cast(offset, x.dtype))
    return tf.nn.relu(y) if norm.relu else y


def _is_worth_it(conv: Conv2DFixedPadding, x: tf.Tensor) -> bool:
    """Folding takes a pass over the kernel in each call to spare some over the output, the larger of them.

    The batch at hand does not count: what becomes of an image does not depend on how many are beside it.
    """
    _, height, width, _ = conv.compute_output_shape(x.shape)
    if height is None or width is None:
        return False
    return FEW_IMAGES * height * width >= conv.kernel_size**2 * x.shape[-1]
