"""Stateless image augmentation: the views of SimCLR (arXiv 2002.05709, appendix A).

Images are float32 [height, width, 3] in [0, 1], seeds int [2]. Equal seeds give equal results.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tf_simclrv2.config import DataConfig

JITTER_PROBABILITY = 0.8
GRAYSCALE_PROBABILITY = 0.2
# Smallest view for which color jitter is compiled.
COMPILED_PIXELS = 32 * 32
EVALUATION_PROPORTION = 0.875


def view(image: tf.Tensor, size: int, config: DataConfig, seed: tf.Tensor) -> tf.Tensor:
    """Makes a random view for contrastive learning: crop, flip, color jitter, grayscale.

    The fifth step, blur, runs on whole batches: `blur.batch_random_blur`.

    Args:
        image: float32 [height, width, 3] in [0, 1].
        size: Side of the view in pixels.
        config: Only `crop_min_area`, `random_flip` and `color_jitter_strength` are used.
        seed: int [2].

    Returns:
        float32 [size, size, 3] in [0, 1].

    Example:
        >>> view(tf.ones([40, 60, 3]), 32, DataConfig(), tf.constant([0, 1])).shape
        TensorShape([32, 32, 3])
    """
    crop_seed, flip_seed, jitter_seed, gray_seed = _split(seed, 4)
    image = random_resized_crop(image, size, crop_seed, config.crop_min_area)
    if config.random_flip:
        image = random_flip(image, flip_seed)
    if config.color_jitter_strength > 0:
        image = color_jitter(image, config.color_jitter_strength, jitter_seed)
        image = random_grayscale(image, gray_seed)
    return tf.clip_by_value(image, 0.0, 1.0)


def finetune_view(image: tf.Tensor, size: int, config: DataConfig, seed: tf.Tensor) -> tf.Tensor:
    """Makes a random view for supervised training: crop and flip only. Arguments as in `view`."""
    crop_seed, flip_seed = _split(seed, 2)
    image = random_resized_crop(image, size, crop_seed, config.crop_min_area)
    if config.random_flip:
        image = random_flip(image, flip_seed)
    return tf.clip_by_value(image, 0.0, 1.0)


def evaluation_view(image: tf.Tensor, size: int) -> tf.Tensor:
    """Makes the view for evaluation: the central 87.5 % if `size` is above 32, else the whole image, resized.

    Args:
        image: float32 [height, width, 3] in [0, 1].
        size: Side of the view in pixels.

    Returns:
        float32 [size, size, 3] in [0, 1].
    """
    image = center_crop(image, size, EVALUATION_PROPORTION) if size > 32 else resize(image, size)
    return tf.clip_by_value(image, 0.0, 1.0)


def resize(image: tf.Tensor, size: int | tuple[int, int]) -> tf.Tensor:
    """Resizes bicubically (Keys, a = -0.5; half-pixel centers, no antialiasing); values may leave [0, 1].

    Args:
        image: float [height, width, 3].
        size: Side, or (height, width), in pixels.

    Returns:
        float32 [*size, 3].
    """
    return tf.image.resize(image, _height_width(size), method="bicubic", antialias=False)


def contained(image: tf.Tensor, size: int) -> tf.Tensor:
    """Scales an image so that all of it fits into a square, in its own proportions; for people to look at.

    Args:
        image: float32 [height, width, 3] in [0, 1].
        size: Side of the square in pixels.

    Returns:
        float32 [size, size, 4] in [0, 1], transparent where the image does not reach.
    """
    sides = tf.cast(tf.shape(image)[:2], tf.float32)
    fitting = tf.maximum(1, tf.cast(tf.round(size * sides / tf.reduce_max(sides)), tf.int32))
    image = tf.image.resize(image, fitting, antialias=True)
    opaque = tf.pad(image, [[0, 0], [0, 0], [0, 1]], constant_values=1.0)
    return tf.image.resize_with_crop_or_pad(opaque, size, size)


def center_crop(image: tf.Tensor, size: int | tuple[int, int], proportion: float) -> tf.Tensor:
    """Crops the center, in the target's aspect ratio, and resizes it.

    Args:
        image: float [height, width, 3].
        size: Side, or (height, width), of the result in pixels.
        proportion: In (0, 1], of the side that limits the crop.

    Returns:
        float32 [*size, 3], not clipped.
    """
    target_height, target_width = _height_width(size)
    aspect = target_width / target_height
    shape = tf.shape(image)
    height, width = shape[0], shape[1]
    limit = tf.minimum(tf.cast(height, tf.float32), tf.cast(width, tf.float32) / aspect)
    # tf.round rounds halves to even, as published.
    crop_height = tf.maximum(1, tf.cast(tf.round(proportion * limit), tf.int32))
    crop_width = tf.maximum(1, tf.cast(tf.round(proportion * aspect * limit), tf.int32))
    top, left = (height - crop_height + 1) // 2, (width - crop_width + 1) // 2
    return resize(image[top : top + crop_height, left : left + crop_width], size)


def random_resized_crop(
    image: tf.Tensor, size: int | tuple[int, int], seed: tf.Tensor, min_area: float = 0.08
) -> tf.Tensor:
    """Crops a random part, of 3:4 to 4:3 times the target's aspect ratio, and resizes it.

    As published, the crop must also cover a tenth of the image, so the smallest area is 10 %.
    If 100 draws fail, the crop is the whole image.

    Args:
        image: float [height, width, 3].
        size: Side, or (height, width), of the result in pixels.
        seed: int [2].
        min_area: Least share of the image's area.

    Returns:
        float32 [*size, 3], not clipped.
    """
    target_height, target_width = _height_width(size)
    aspect = target_width / target_height
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.shape(image),
        bounding_boxes=tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
        seed=seed,
        min_object_covered=0.1,
        aspect_ratio_range=(3 / 4 * aspect, 4 / 3 * aspect),
        area_range=(min_area, 1.0),
        max_attempts=100,
    )
    crop = tf.slice(image, begin, extent)
    crop.set_shape([None, None, image.shape[-1]])
    return resize(crop, size)


def random_flip(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Flips left to right with probability 0.5. float [height, width, 3] in and out."""
    return tf.image.stateless_random_flip_left_right(image, seed)


def color_jitter(image: tf.Tensor, strength: float, seed: tf.Tensor) -> tf.Tensor:
    """Changes brightness, contrast, saturation and hue in random order, with probability 0.8.

    Brightness, contrast and saturation are scaled by factors in [max(0, 1 - 0.8s), 1 + 0.8s], the
    hue shifts by [-0.2s, 0.2s] of the circle, and the image is clipped to [0, 1] after each.

    Args:
        image: float [height, width, 3].
        strength: s, at least 0; SimCLR uses 1 on ImageNet and 0.5 on CIFAR-10.
        seed: int [2].

    Returns:
        An image of the same shape and type.
    """
    chance_seed, order_seed, amount_seed = _split(seed, 3)

    def jittered() -> tf.Tensor:
        amounts = tf.random.stateless_uniform([4], amount_seed)
        low, high = max(0.0, 1.0 - 0.8 * strength), 1.0 + 0.8 * strength
        # tf.image.adjust_hue takes shifts of at most one whole turn.
        hue = tf.math.floormod(0.2 * strength * (2.0 * amounts[3:] - 1.0) + 0.5, 1.0) - 0.5
        changes = tf.concat([low + (high - low) * amounts[:3], hue], axis=0)
        adjust = _compiled_adjust if _is_large(image) else _adjust
        return adjust(image, changes, _random_order(4, order_seed))

    return tf.cond(_happens(JITTER_PROBABILITY, chance_seed), jittered, lambda: image)


def to_grayscale(image: tf.Tensor) -> tf.Tensor:
    """Puts luminance (0.2989 R + 0.587 G + 0.114 B) into all channels. float [..., 3] in and out."""
    return tf.repeat(tf.image.rgb_to_grayscale(image), 3, axis=-1)


def random_grayscale(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Applies `to_grayscale` with probability 0.2. float [height, width, 3] in and out."""
    return tf.cond(_happens(GRAYSCALE_PROBABILITY, seed), lambda: to_grayscale(image), lambda: image)


def check_unit_range(images: tf.Tensor) -> None:
    """Refuses images that are not in [0, 1], eagerly or in a graph; compiled programs omit the check.

    Args:
        images: Any float shape.

    Raises:
        tf.errors.InvalidArgumentError: A value is outside of [0, 1] or not a number.
    """
    low, high = tf.reduce_min(images), tf.reduce_max(images)
    cure = "scale them, for example with tf.image.convert_image_dtype(images, tf.float32)."
    tf.debugging.Assert(
        (low >= 0) & (high <= 1),
        ["The images hold values from", low, "to", high, "but the model takes 0 to 1;", cure],
    )


def _adjust(image: tf.Tensor, changes: tf.Tensor, order: tf.Tensor) -> tf.Tensor:
    """Brightness, contrast, saturation and hue (`changes`, float [4]) in an order, int [4]."""
    brightness, contrast, saturation, hue = tf.unstack(changes)
    operations = [
        lambda x: x * tf.cast(brightness, x.dtype),
        lambda x: tf.image.adjust_contrast(x, contrast),
        lambda x: tf.image.adjust_saturation(x, saturation),
        lambda x: tf.image.adjust_hue(x, hue),
    ]
    return _in_order(image, operations, order)


# All changes in a pass or two over memory, in half the time of the ops one by one; compiled by every process.
_compiled_adjust = tf.function(_adjust, jit_compile=True)


def _is_large(image: tf.Tensor) -> bool:
    """Tells whether compiling pays off; unknown shapes would each compile again."""
    return (image.shape.num_elements() or 0) >= COMPILED_PIXELS * 3


def _in_order(
    image: tf.Tensor, operations: list[Callable[[tf.Tensor], tf.Tensor]], order: tf.Tensor
) -> tf.Tensor:
    def step(current: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
        changed = tf.switch_case(chosen, [lambda op=op: op(current) for op in operations])
        return tf.clip_by_value(changed, 0.0, 1.0)

    return tf.foldl(step, order, initializer=image)


def _random_order(count: int, seed: tf.Tensor) -> tf.Tensor:
    return tf.argsort(tf.random.stateless_uniform([count], seed))


def _happens(probability: float, seed: tf.Tensor) -> tf.Tensor:
    return tf.random.stateless_uniform([], seed) < probability


def _split(seed: tf.Tensor, count: int) -> list[tf.Tensor]:
    return tf.unstack(tf.random.split(seed, count), num=count)


def _height_width(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size
