"""A convolution and the batch norm after it, which inference mode folds into the kernel."""

from __future__ import annotations

import tensorflow as tf

from tf_simclrv2.models.batch_norm import BatchNormRelu
from tf_simclrv2.models.conv import Conv2DFixedPadding

# Batches of this size or larger gain.
FEW_IMAGES = 8


def convolve_and_normalize(
    conv: Conv2DFixedPadding,
    norm: BatchNormRelu,
    x: tf.Tensor,
    training: bool,
    update_statistics: bool = True,
) -> tf.Tensor:
    """Computes `norm(conv(x))`, in inference mode with fewer passes over the feature map.

    In inference mode batch norm is a factor and an offset for each channel. The factor is multiplied into the
    kernel and the offset is a bias, which TensorFlow computes, together with the ReLU, inside the
    convolution.

    Args:
        conv: Built.
        norm: Built, over the channels of `conv`.
        x: [N, H, W, C].
        training: See `BatchNormRelu`.
        update_statistics: See `BatchNormRelu`.

    Returns:
        The output of `norm`.
    """
    if not norm.is_frozen(training) or not _is_worth_it(conv, x):
        return norm(conv(x), training=training, update_statistics=update_statistics)
    kernel = tf.convert_to_tensor(conv.kernel)
    scale, offset = norm.moving_scale_and_offset(kernel.dtype)
    y = tf.nn.bias_add(conv.convolve(x, kernel * scale), tf.cast(offset, x.dtype))
    return tf.nn.relu(y) if norm.relu else y


def _is_worth_it(conv: Conv2DFixedPadding, x: tf.Tensor) -> bool:
    """Returns whether folding pays off: a pass over the kernel in each call saves some over the output.

    The size of the batch at hand does not matter, so that the features of an image do not depend on which
    other images are in its batch.
    """
    _, height, width, _ = conv.compute_output_shape(x.shape)
    if height is None or width is None:
        return False
    return FEW_IMAGES * height * width >= conv.kernel_size**2 * x.shape[-1]
