import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.goldens import weights
from tf_simclrv2.config import DataConfig
from tf_simclrv2.data import augmentation, blur

GOLDENS = json.loads((Path(__file__).parents[1] / "goldens" / "augment.json").read_text())


def golden_input(name: str) -> tf.Tensor:
    if name == "wide_uint8":
        wide = weights.image(*GOLDENS["inputs"]["wide"]["image"])[0]
        return tf.image.convert_image_dtype(np.floor(wide * 255.999).astype(np.uint8), tf.float32)
    return tf.constant(weights.image(*GOLDENS["inputs"][name]["image"])[0])


def run(op: str, image: tf.Tensor, args: dict) -> tf.Tensor:
    size = (args.get("height"), args.get("width"))
    if op == "center_crop":
        return augmentation.center_crop(image, size, args["crop_proportion"])
    if op == "resize_bicubic":
        return augmentation.resize(image, size)
    if op == "preprocess_for_eval" and args["crop"]:
        return tf.clip_by_value(augmentation.center_crop(image, size, 0.875), 0, 1)
    if op == "preprocess_for_eval":
        return tf.clip_by_value(augmentation.resize(image, size), 0, 1)
    if op == "preprocess_image":
        return augmentation.evaluation_view(image, size[0])
    if op == "gaussian_blur":
        return blur.gaussian_blur(image[None], args["kernel_size"], args["sigma"], args["padding"])[0]
    if op == "to_grayscale":
        gray = augmentation.to_grayscale(image)
        return gray if args["keep_channels"] else gray[..., :1]
    if op == "adjust_brightness_multiplicative":
        return image * args["factor"]
    return getattr(tf.image, op)(image, *args.values())


def describe_case(case: dict) -> str:
    return "-".join([case["op"], case["input"], *map(str, case["args"].values())])


@pytest.mark.parametrize("case", GOLDENS["cases"], ids=describe_case)
def test_deterministic_operations_agree_with_the_published_ones(case):
    got = run(case["op"], golden_input(case["input"]), case["args"]).numpy().astype(np.float64)
    assert list(got.shape) == case["shape"]
    dot = np.sum(got * weights.value("dot", got.shape)) / np.sqrt(got.size)
    np.testing.assert_allclose(
        [got.mean(), got.std(), dot, np.linalg.norm(got) / np.sqrt(got.size), *got.ravel()[:8]],
        [case["mean"], case["std"], case["dot"], case["l2"] / np.sqrt(got.size), *case["first8"]],
        atol=1e-5,
    )


def test_evaluation_view_crops_above_32_pixels_only():
    image = golden_input("square32")
    np.testing.assert_array_equal(augmentation.evaluation_view(image, 32), image)
    small = augmentation.evaluation_view(image[:8, :8], 32)
    np.testing.assert_allclose(small, tf.clip_by_value(augmentation.resize(image[:8, :8], 32), 0, 1))
    large = golden_input("square224")
    expected = tf.clip_by_value(augmentation.center_crop(large, 224, 0.875), 0, 1)
    np.testing.assert_array_equal(augmentation.evaluation_view(large, 224), expected)


def test_resize_is_the_keys_cubic_convolution():
    def keys(x):
        x = np.abs(x)
        near = 1.5 * x**3 - 2.5 * x**2 + 1
        far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
        return np.where(x <= 1, near, np.where(x < 2, far, 0.0))

    def matrix(source, target):
        centers = (np.arange(target) + 0.5) * source / target - 0.5
        kernel = keys(centers[:, None] - np.arange(source)[None])
        return kernel / kernel.sum(1, keepdims=True)

    image = np.random.default_rng(0).random((9, 13, 3), dtype=np.float32)
    expected = np.einsum("yi,xj,ijc->yxc", matrix(9, 21), matrix(13, 30), image)
    # TensorFlow reads the kernel from a table of 1024 steps.
    np.testing.assert_allclose(augmentation.resize(image, (21, 30)), expected, atol=5e-3)


def seeds(count: int) -> tf.Tensor:
    return tf.stack([tf.range(count), tf.fill([count], 17)], axis=1)


def over_seeds(function, count: int) -> np.ndarray:
    mapped = tf.function(lambda s: tf.map_fn(function, s, fn_output_signature=tf.float32))
    return mapped(seeds(count)).numpy()


@pytest.mark.parametrize("published", GOLDENS["crop_statistics"], ids=lambda p: str(p["image"]))
def test_crops_are_distributed_as_published(published):
    height, width = published["image"]
    # The crop of an image that holds its own coordinates tells its box; bicubic resizing keeps ramps.
    rows, columns = tf.meshgrid(tf.range(height), tf.range(width), indexing="ij")
    image = tf.cast(tf.stack([rows, columns, columns], axis=-1), tf.float32)
    count, size = 3000, 64

    def box(seed):
        crop = augmentation.random_resized_crop(image, size, seed)
        inner = crop[size // 4 : 3 * size // 4 + 1, size // 4 : 3 * size // 4 + 1]
        span = (inner[-1, -1, :2] - inner[0, 0, :2]) / (size // 2) * size
        middle = (inner[-1, -1, :2] + inner[0, 0, :2]) / 2 - span / size / 2  # Of an odd window.
        return tf.concat([middle - span / 2 + 0.5, span], axis=0)

    top, left, crop_height, crop_width = over_seeds(box, count).round(3).T
    area = crop_height * crop_width / (height * width)
    aspect = crop_width / crop_height
    for values, name in ((area, "area_fraction"), (aspect, "aspect_width_over_height")):
        error = published[name]["std"] / np.sqrt(count)
        assert abs(values.mean() - published[name]["mean"]) < 5 * error
        quartiles = [published[name]["percentiles"][key] for key in ("25", "50", "75")]
        np.testing.assert_allclose(
            np.percentile(values, [25, 50, 75]), quartiles, atol=6 * error + 1e-2 * values.std()
        )
    assert area.min() > 0.0995  # The smallest area is a tenth.
    assert top.min() > -0.1 and left.min() > -0.1
    assert np.all(top + crop_height < height + 0.1) and np.all(left + crop_width < width + 0.1)


@pytest.mark.parametrize("view", [augmentation.view, augmentation.finetune_view])
def test_the_least_area_of_a_crop_can_be_set(view):
    ramp = tf.tile(
        tf.linspace(0.0, 1.0, 64)[:, tf.newaxis, tf.newaxis], [1, 64, 3]
    )  # Its span is the height.
    config = DataConfig(crop_min_area=0.81, color_jitter_strength=0.0, random_flip=False)
    views = over_seeds(lambda seed: view(ramp, 32, config, seed), 200)
    # The crop of a ramp spans as much of it as its height of the image.
    spans = views[:, 31, 16, 0] - views[:, 0, 16, 0]
    # A crop of 0.81 of the area and 4:3 of aspect has the least height, sqrt(0.81 * 3 / 4).
    assert 0.74 < spans.min() < 0.9 and spans.max() > 0.9


def test_a_crop_of_a_tiny_image_works():
    for shape in ((1, 1, 3), (1, 50, 3), (3, 2, 3)):
        assert augmentation.random_resized_crop(tf.ones(shape), 8, [0, 1]).shape == (8, 8, 3)


def test_half_of_the_images_are_mirrored():
    image = tf.constant(weights.image(1, 4, 3, 1)[0])
    flipped = over_seeds(lambda s: augmentation.random_flip(image, s), 2000)
    mirrored = np.all(np.isclose(flipped, image[:, ::-1]), axis=(1, 2, 3))
    assert np.all(mirrored | np.all(np.isclose(flipped, image), axis=(1, 2, 3)))
    assert abs(mirrored.mean() - 0.5) < 0.05


def test_jitter_and_grayscale_are_as_frequent_as_published():
    image = tf.constant(weights.image(1, 4, 3, 1)[0])

    def colored(seed):
        jitter_seed, gray_seed = tf.unstack(tf.random.split(seed, 2), num=2)
        return augmentation.random_grayscale(augmentation.color_jitter(image, 1.0, jitter_seed), gray_seed)

    images = over_seeds(colored, 3000)
    changed = np.any(np.abs(images - image) > 1e-6, axis=(1, 2, 3)).mean()
    gray = np.all(np.ptp(images, axis=-1) < 1e-6, axis=(1, 2)).mean()
    published = GOLDENS["random_statistics"]["random_color_jitter_strength_1.0"]
    assert abs(changed - published["changed"]) < 0.03
    assert abs(gray - published["gray"]) < 0.03
    assert images.min() >= 0 and images.max() <= 1


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_brightness_factors_are_distributed_as_published(strength):
    # Contrast, saturation and hue leave a uniform gray as it is; at 0.5 the clip starts at a factor of 2.
    images = over_seeds(lambda s: augmentation.color_jitter(tf.fill([2, 2, 3], 0.5), strength, s), 3000)
    factors = images[:, 0, 0, 0] / 0.5
    factors = factors[np.abs(factors - 1) > 1e-6]
    published = GOLDENS["random_statistics"][f"brightness_factor_strength_{strength}"]
    assert abs(factors.mean() - published["mean"]) < 0.05 * strength
    assert abs(factors.std() - published["std"]) < 0.02 * strength
    assert factors.min() >= published["percentiles"]["0"] - 0.01
    assert factors.max() <= published["percentiles"]["100"] + 0.01


def test_a_strength_above_the_published_range_floors_the_factors_at_zero():
    images = over_seeds(lambda s: augmentation.color_jitter(tf.fill([2, 2, 3], 0.2), 1.5, s), 1000)
    assert images.min() >= 0 and images.max() <= 0.2 * 2.2 + 1e-5
    assert images.max() > 0.2 * 2.1


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 2, 0], [2, 3, 0, 1]], ids=str)
def test_the_compiled_jitter_is_that_of_tf_image(order):
    image, changes = golden_input("wide"), tf.constant([1.4, 0.6, 1.7, -0.15])
    compiled = augmentation._compiled_adjust(image, changes, tf.constant(order))
    operations = [
        tf.multiply,
        tf.image.adjust_contrast,
        tf.image.adjust_saturation,
        tf.image.adjust_hue,
    ]
    expected = image
    for chosen in order:
        expected = tf.clip_by_value(operations[chosen](expected, changes[chosen]), 0, 1)
    assert np.abs(expected - image).max() > 0.1
    np.testing.assert_allclose(compiled, expected, atol=1e-5)


def test_the_operations_of_the_jitter_come_in_all_orders():
    subtract, double = lambda x: x - 0.25, lambda x: x * 2  # They do not commute.
    image = tf.fill([1, 1, 3], 0.4)

    def run(seed):
        return augmentation._in_order(image, [subtract, double], augmentation._random_order(2, seed))

    images = over_seeds(run, 1000)
    first = np.isclose(images[:, 0, 0, 0], 0.3)
    assert np.all(first | np.isclose(images[:, 0, 0, 0], 0.55))
    assert abs(first.mean() - 0.5) < 0.07


def test_a_view_is_a_function_of_its_seed():
    image, config = golden_input("wide"), DataConfig()
    first, again = (augmentation.view(image, 32, config, [3, 4]) for _ in range(2))
    other = augmentation.view(image, 32, config, [3, 5])
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01
    assert first.shape == (32, 32, 3) and first.dtype == tf.float32


def test_views_are_clipped_though_bicubic_overshoots():
    image = tf.cast(np.random.default_rng(0).random((16, 16, 1)) > 0.5, tf.float32) * tf.ones([1, 1, 3])
    config = DataConfig(color_jitter_strength=0.0)
    for make in (augmentation.view, augmentation.finetune_view):
        made = over_seeds(lambda s, make=make: make(image, 24, config, s), 50)
        assert made.min() == 0 and made.max() == 1


def test_views_keep_their_colors_without_jitter():
    """As published: turning a view gray is a part of the color jitter."""
    image = tf.constant(weights.image(1, 8, 3, 1)[0])
    for strength, gray_share in ((0.0, 0.0), (0.5, 0.2)):
        config = DataConfig(color_jitter_strength=strength)
        views = over_seeds(lambda s, config=config: augmentation.view(image, 8, config, s), 400)
        gray = np.all(np.ptp(views, axis=-1) < 1e-6, axis=(1, 2)).mean()
        assert gray == pytest.approx(gray_share, abs=0.07 if strength else 0.0)


def test_fine_tuning_keeps_the_colors_and_can_leave_out_the_mirror():
    ramp = tf.tile(tf.linspace(0.2, 0.8, 30)[None, :, None], [30, 1, 3]) * tf.constant([1.0, 0.5, 0.25])
    views = over_seeds(lambda s: augmentation.finetune_view(ramp, 16, DataConfig(random_flip=False), s), 100)
    assert np.all(np.diff(views[..., 0], axis=2) > -1e-5)
    np.testing.assert_allclose(views[..., 1], views[..., 0] / 2, atol=1e-5)
    flipped = over_seeds(lambda s: augmentation.finetune_view(ramp, 16, DataConfig(), s), 100)
    assert 0.3 < np.mean(flipped[:, 8, 0, 0] > flipped[:, 8, -1, 0]) < 0.7


def test_check_unit_range():
    augmentation.check_unit_range(tf.constant([0.0, 1.0]))
    for wrong in ([0.0, 255.0], [-1.0, 1.0], [0.0, float("nan")]):
        with pytest.raises(tf.errors.InvalidArgumentError, match="0 to 1"):
            augmentation.check_unit_range(tf.constant(wrong))


@pytest.mark.parametrize(
    ("height", "width", "inside"),
    [(300, 500, (29, 48)), (7, 7, (48, 48)), (900, 90, (48, 5)), (900, 3, (48, 1))],
)
def test_a_thumbnail_holds_all_of_an_image_in_its_own_proportions(height, width, inside):
    image = np.zeros([height, width, 3], np.float32)
    image[: height // 2], image[height // 2 :] = (1, 0, 0), (0, 0, 1)
    found = augmentation.contained(tf.constant(image), 48).numpy()
    seen = np.argwhere(found[..., 3] == 1)
    (top, left), (bottom, right) = seen.min(axis=0), seen.max(axis=0)
    assert (bottom - top + 1, right - left + 1) == inside and len(seen) == inside[0] * inside[1]
    assert abs(top + bottom - 47) <= 1 and abs(left + right - 47) <= 1, "in the middle"
    assert not found[found[..., 3] < 1].any(), "the rest is transparent"
    np.testing.assert_allclose(found[top, left], [1, 0, 0, 1], atol=0.01)
    np.testing.assert_allclose(found[bottom, right], [0, 0, 1, 1], atol=0.01)
