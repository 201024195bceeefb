import numpy as np
import pytest
import tensorflow as tf

from tests.goldens import weights
from tf_simclrv2.data import batch_random_blur, example_seeds, gaussian_blur
from tf_simclrv2.data.seeds import uniform_of_seeds
from tf_simclrv2.distribution import devices


def seeds(count: int, purpose: str = "view_1/blur") -> tf.Tensor:
    return example_seeds(0, tf.range(count), purpose)


def reference_blur(image: np.ndarray, radius: int, sigma: float) -> np.ndarray:
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-(offsets**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    for axis in (0, 1):
        image = np.apply_along_axis(np.convolve, axis, image, kernel, mode="same")
    return image


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_image_has_its_own_sigma(dtype):
    images = weights.image(3, (20, 26), 3, 1).astype(dtype)
    sigmas = [0.3, 1.0, 2.0]
    blurred = gaussian_blur(tf.constant(images), 7, tf.constant(sigmas, tf.float64))
    assert blurred.dtype == dtype
    expected = [reference_blur(i.astype("float64"), 3, s) for i, s in zip(images, sigmas, strict=True)]
    np.testing.assert_allclose(blurred, expected, atol=1e-6 if dtype == "float32" else 1e-14)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("sigma", [0.7, [0.3, 1.0, 2.0]], ids=["one", "each"])
@pytest.mark.parametrize("kernel_size", [0, 5, 22])
def test_products_on_a_cpu_equal_shifts_on_an_accelerator(monkeypatch, kernel_size, sigma, padding):
    images = tf.constant(weights.image(3, (30, 26), 3, 1))
    on_cpu, elsewhere = (
        _with_device(monkeypatch, cpu, lambda: gaussian_blur(images, kernel_size, sigma, padding))
        for cpu in (True, False)
    )
    assert on_cpu.shape == elsewhere.shape
    np.testing.assert_allclose(on_cpu, elsewhere, atol=1e-6)


def _with_device(monkeypatch, cpu: bool, run) -> tf.Tensor:
    monkeypatch.setattr(devices, "on_cpu", lambda: cpu)
    return run()


def test_half_of_the_images_are_blurred_with_uniform_sigmas():
    impulse = np.zeros((1500, 9, 9, 1), np.float32)
    impulse[:, 4, 4] = 1
    blurred = batch_random_blur(tf.constant(impulse), seeds(1500), 30).numpy()[..., 0]
    changed = np.any(blurred != impulse[..., 0], axis=(1, 2))
    # Below a sigma of about 0.2 the blur is the identity in float32.
    assert abs(changed.mean() - 0.5 * (2 - 0.2) / 1.9) < 0.06
    neighbors, centers = blurred[changed, 4, 5], blurred[changed, 4, 4]
    sigmas = np.sqrt(-0.5 / np.log(neighbors / centers))
    assert sigmas.min() >= 0.1 and sigmas.max() <= 2.001
    assert abs(sigmas.mean() - 1.1) < 0.1
    assert abs(np.mean(sigmas > 1.05) - 0.5) < 0.08
    assert len(np.unique(sigmas.round(4))) > 500


def test_one_sigma_for_the_batch_as_published():
    image = np.repeat(weights.image(1, 12, 3, 1), 200, axis=0)
    blurred = batch_random_blur(tf.constant(image), seeds(200), 32, "batch").numpy()
    kinds = np.unique(blurred.reshape(200, -1), axis=0)
    assert len(kinds) == 2  # As it was, and blurred.
    assert 0.35 < np.mean(np.any(blurred != image, axis=(1, 2, 3))) < 0.65


@pytest.mark.parametrize("sigma_per", ["example", "batch"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled_equals_uncompiled(sigma_per, dtype):
    images = tf.constant(weights.image(12, 40, 3, 1), dtype)

    def run(images, seeds):
        return batch_random_blur(images, seeds, 40, sigma_per)

    plain, compiled = run(images, seeds(12)), tf.function(run, jit_compile=True)(images, seeds(12))
    assert plain.dtype == compiled.dtype == dtype
    assert np.abs(plain - images).max() > 0.01
    np.testing.assert_allclose(compiled, plain, atol=1e-6 if dtype == "float32" else 1e-14)


def test_an_image_blurs_alike_in_any_batch():
    images = tf.constant(weights.image(8, 32, 3, 1))
    whole = batch_random_blur(images, seeds(8), 32)
    halves = [batch_random_blur(images[i : i + 4], seeds(8)[i : i + 4], 32) for i in (0, 4)]
    np.testing.assert_array_equal(whole, tf.concat(halves, 0))


def test_shapes_stay_static_and_values_in_range():
    @tf.function(input_signature=[tf.TensorSpec([4, 24, 24, 3])])
    def run(images):
        blurred = batch_random_blur(images, seeds(4), 24)
        assert blurred.shape == [4, 24, 24, 3]
        return blurred

    blurred = run(tf.ones([4, 24, 24, 3]))
    assert tf.reduce_min(blurred) >= 0 and tf.reduce_max(blurred) <= 1


def test_seeds_tell_examples_purposes_and_runs_apart():
    keys = tf.constant([0, 1, 2**31, 2**32 - 1], tf.int64)
    made = [example_seeds(seed, keys, purpose) for seed in (0, 1) for purpose in ("view_1", "view_2")]
    rows = np.concatenate(made)
    assert rows.dtype == np.int32 and len(np.unique(rows, axis=0)) == len(rows)
    assert example_seeds(0, tf.constant(5, tf.int64), "view_1").shape == [2]
    np.testing.assert_array_equal(example_seeds(0, keys[1], "view_1"), made[0][1])


def test_uniform_numbers_are_uniform_and_independent():
    keys = tf.range(20000)
    draws = np.stack(
        [
            uniform_of_seeds(example_seeds(seed, keys, purpose), draw)
            for seed in (0, 1)
            for purpose in ("view_1/blur", "view_2/blur")
            for draw in (0, 1)
        ]
    )
    assert draws.min() >= 0 and draws.max() < 1
    counts = np.stack([np.histogram(row, bins=20, range=(0, 1))[0] for row in draws])
    assert np.all(np.abs(counts - 1000) < 5 * np.sqrt(1000))
    series = np.concatenate([draws, np.roll(draws, 1, axis=1)])  # Between draws, and from key to key.
    correlation = np.corrcoef(series) - np.eye(len(series))
    assert np.abs(correlation).max() < 5 / np.sqrt(20000)
