"""Alignment, uniformity and effective rank against NumPy and known cases."""

import numpy as np
import pytest
import tensorflow as tf

from tf_simclrv2.objectives.collapse import alignment, effective_rank, uniformity


def rows(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d))


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_alignment_and_uniformity():
    a, b = rows(7, 5), rows(7, 5, 1)
    expected = np.mean([np.sum((x - y) ** 2) for x, y in zip(unit(a), unit(b), strict=True)])
    assert float(alignment(a, b)) == pytest.approx(expected, rel=1e-12)
    pairs = [
        np.exp(-2 * np.sum((unit(a)[i] - unit(a)[j]) ** 2)) for i in range(7) for j in range(7) if i != j
    ]
    assert float(uniformity(a)) == pytest.approx(np.log(np.mean(pairs)), rel=1e-12)


@pytest.mark.parametrize("shape", [(40, 6), (6, 40), (9, 9)])
def test_effective_rank(shape):
    x = rows(*shape)
    values = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    shares = values[values > 1e-10] / values.sum()
    # A Gram matrix squares the singular values, so half of the digits of small ones are lost.
    assert float(effective_rank(x)) == pytest.approx(np.exp(-np.sum(shares * np.log(shares))), rel=1e-6)


def test_a_collapse_is_seen():
    point = np.ones((6, 4))
    assert float(alignment(point, point)) == 0.0
    assert float(uniformity(point)) == pytest.approx(0.0, abs=1e-12)
    assert float(effective_rank(point)) == 1.0
    line = np.outer(np.arange(6.0), np.arange(1.0, 5.0))
    assert float(effective_rank(line)) == pytest.approx(1.0, abs=1e-5)


def test_a_collapse_to_zero_is_seen():
    nothing = tf.zeros([6, 4])
    assert [float(f) for f in (alignment(nothing, nothing), uniformity(nothing))] == [0.0, 0.0]
    assert float(effective_rank(nothing)) == 1.0


def test_points_that_differ_by_rounding_are_one_point():
    row = rows(1, 128).astype(np.float32)
    z = row * (1 + 6e-8 * rows(200, 128, 1)).astype(np.float32)
    assert np.any(z != z[0])
    assert float(effective_rank(z)) == pytest.approx(1.0, abs=1e-5)
    assert float(uniformity(z)) == pytest.approx(0.0, abs=1e-5)


def test_a_single_row_is_a_point():
    assert float(uniformity(rows(1, 4))) == 0.0


def test_antipodes_are_farthest():
    assert float(uniformity(np.array([[2.0, 0.0], [-1.0, 0.0]]))) == pytest.approx(-8.0, rel=1e-12)


def test_compiled_by_xla():
    z = tf.constant(rows(12, 5), tf.float32)

    def metrics(z):
        return alignment(z, z[::-1]), uniformity(z), effective_rank(z)

    np.testing.assert_allclose(tf.function(metrics, jit_compile=True)(z), metrics(z), rtol=1e-5)


@pytest.mark.parametrize("value", [0.1, 1 / 3])
def test_rounding_is_no_rank(value):
    """In float32 the mean of equal rows is not quite the row, and a Gram matrix of rank 5 has more."""
    assert float(effective_rank(tf.fill([256, 128], np.float32(value)))) == pytest.approx(1.0, abs=1e-5)
    five = rows(256, 5) @ rows(5, 128, 1)
    exact = float(effective_rank(five))
    assert exact < 5.0
    assert float(effective_rank(five.astype(np.float32))) == pytest.approx(exact, rel=1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_diverged_run_has_no_rank_but_goes_on(bad):
    x = rows(6, 4)
    x[2, 1] = bad
    assert np.isnan(float(effective_rank(x)))


def test_an_orthogonal_spread_has_full_rank():
    spread = np.concatenate([np.eye(5), -np.eye(5)])
    assert float(effective_rank(spread)) == pytest.approx(5.0, rel=1e-9)


def test_no_gradient_and_full_precision():
    z = tf.constant(rows(8, 4), tf.bfloat16)
    with tf.GradientTape() as tape:
        tape.watch(z)
        values = [alignment(z, z[::-1]), uniformity(z), effective_rank(z)]
    assert tape.gradient(values, z) is None
    assert all(value.dtype == tf.float32 for value in values)
