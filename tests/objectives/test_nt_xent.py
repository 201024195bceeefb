"""NT-Xent against the published numbers, and against its definition in NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from tests.goldens import checksum, load, value
from tf_simclrv2.objectives import contrastive_accuracy, contrastive_entropy, nt_xent

# A batch of 5 cannot be split, so it has no runs on 2 and 4 replicas.
RUNS = [(case, count) for case in load("loss")["cases"] for count in (1, *map(int, case["replicas"]))]
SETTINGS = [(hidden_norm, temperature) for hidden_norm in (True, False) for temperature in (0.1, 0.5, 1.0)]


def _projections(batch: int, dim: int) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(11)).standard_normal((2 * batch, dim)).astype(np.float32)


def _step(hidden_norm: bool, temperature: float, replicas: int = 1) -> Callable:
    """Loss, gradient of the mean over replicas, metrics, logits and labels."""

    def step(z: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(z)
            loss, logits, labels = nt_xent(z, temperature=temperature, hidden_norm=hidden_norm)
            objective = loss / replicas
        return {
            "loss": loss,
            "gradient": tape.gradient(objective, z),
            "accuracy": contrastive_accuracy(logits, labels),
            "entropy": contrastive_entropy(logits),
            "logits": logits,
            "labels": labels,
        }

    return step


def _softmax(logits: np.ndarray) -> np.ndarray:
    p = np.exp(logits - logits.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def _definition(z: np.ndarray, hidden_norm: bool, temperature: float) -> tuple[float, np.ndarray]:
    """Twice equation 1 of the paper over all 2N rows, and its gradient, written down row by row."""
    z = z.astype(np.float64)
    norm = np.linalg.norm(z, axis=1, keepdims=True) if hidden_norm else np.ones((len(z), 1))
    unit, rows = z / norm, len(z)
    similarity = unit @ unit.T / temperature
    np.fill_diagonal(similarity, -np.inf)
    partner = np.roll(np.arange(rows), rows // 2)
    p = _softmax(similarity)
    loss = 2 * np.mean(-np.log(p[np.arange(rows), partner]))
    residual = p - np.eye(rows)[partner]
    by_unit = 2 / rows * (residual + residual.T) @ unit / temperature
    if hidden_norm:
        by_unit = (by_unit - unit * np.sum(by_unit * unit, axis=1, keepdims=True)) / norm
    return loss, by_unit


def _run_id(case: dict, count: int) -> str:
    similarity = "cosine" if case["hidden_norm"] else "dot"
    return f"{case['batch']}x{case['dim']}-{similarity}-{case['temperature']}-{count}"


@pytest.mark.parametrize("case, count", RUNS, ids=[_run_id(*run) for run in RUNS])
def test_published_numbers(replicas: Callable, case: dict, count: int) -> None:
    z = _projections(case["batch"], case["dim"])
    assert checksum(z) == case["z_crc32"]
    spread = replicas(count)
    results = spread.run(_step(case["hidden_norm"], case["temperature"], count), z, views=2)
    want = case if count == 1 else case["replicas"][str(count)]

    losses = [r["loss"] for r in results]
    np.testing.assert_allclose(losses, [want["loss"]] if count == 1 else want["losses"], rtol=1e-5)
    assert np.mean(losses) == pytest.approx(case["loss"], rel=1e-5)

    gradient = spread.join([r["gradient"] for r in results], views=2).astype(np.float64)
    scale = case["grad_l2"] / np.sqrt(gradient.size)
    dot = np.sum(gradient * value("dot", gradient.shape)) / np.sqrt(gradient.size)
    np.testing.assert_allclose(np.linalg.norm(gradient), want["grad_l2"], rtol=1e-5)
    np.testing.assert_allclose(dot, want["grad_dot"], atol=1e-5 * scale)
    np.testing.assert_allclose(gradient.ravel()[:8], want["grad_first8"], atol=1e-5 * scale)

    # A logit is known to a few units in its last place, and a probability to as much, relatively; the largest
    # probability to one unit of 1.
    largest = np.float32(max(np.abs(r["logits"]).max() for r in results))
    unit, last_place = np.finfo(np.float32).eps, np.spacing(largest)
    np.testing.assert_allclose([r["accuracy"] for r in results], np.ravel(want["contrast_acc"]), rtol=1e-6)
    np.testing.assert_allclose(
        [r["entropy"] for r in results],
        np.ravel(want["contrast_entropy"]),
        rtol=max(1e-5, 8 * last_place),
        atol=unit,
    )
    for r in results:
        assert list(r["logits"].shape) == want["logits_shape"]
        assert list(r["labels"].shape) == want["labels_shape"]


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("hidden_norm, temperature", SETTINGS)
def test_definition_in_float64(replicas: Callable, hidden_norm: bool, temperature: float, count: int) -> None:
    z = _projections(8, 6).astype(np.float64)
    loss, gradient = _definition(z, hidden_norm, temperature)
    spread = replicas(count)
    results = spread.run(_step(hidden_norm, temperature, count), z, views=2)
    assert np.mean([r["loss"] for r in results]) == pytest.approx(loss, rel=1e-12)
    ours = spread.join([r["gradient"] for r in results], views=2)
    np.testing.assert_allclose(ours, gradient, rtol=1e-10, atol=1e-12 * np.abs(gradient).max())


def test_definition_has_the_gradient_of_its_finite_differences() -> None:
    z = _projections(3, 4).astype(np.float64)
    _, gradient = _definition(z, True, 0.5)
    step = 1e-6
    for i in np.ndindex(z.shape):
        nudge = np.zeros_like(z)
        nudge[i] = step
        above, below = _definition(z + nudge, True, 0.5)[0], _definition(z - nudge, True, 0.5)[0]
        assert gradient[i] == pytest.approx((above - below) / (2 * step), abs=1e-8)


@pytest.mark.parametrize("count", [2, 4])
def test_every_replica_counts_its_own_rows_in_order(replicas: Callable, count: int) -> None:
    """Logits and labels of all replicas, one below the other, are those of a single one."""
    z = _projections(8, 6).astype(np.float64)
    (alone,) = replicas(1).run(_step(True, 0.5), z, views=2)
    spread = replicas(count)
    results = spread.run(_step(True, 0.5, count), z, views=2)
    for name in ("logits", "labels"):
        np.testing.assert_allclose(np.concatenate([r[name] for r in results]), alone[name], rtol=1e-12)
    for name in ("accuracy", "entropy"):
        assert np.mean([r[name] for r in results]) == pytest.approx(alone[name], rel=1e-12)


def test_labels_point_at_the_other_view() -> None:
    z = _projections(5, 8)
    _, logits, labels = nt_xent(tf.constant(z))
    np.testing.assert_array_equal(labels, np.eye(5, 10))
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    np.testing.assert_allclose(logits, unit[:5] @ unit[5:].T / 0.1, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_computed_in_float32(dtype: str) -> None:
    half = tf.cast(_projections(8, 16), dtype)
    result = _step(True, 0.1)(half)
    assert result["loss"].dtype == result["logits"].dtype == tf.float32
    assert result["gradient"].dtype == half.dtype
    loss, gradient = _definition(tf.cast(half, tf.float64).numpy(), True, 0.1)
    assert float(result["loss"]) == pytest.approx(loss, rel=1e-5)
    scale = np.abs(gradient).max()
    np.testing.assert_allclose(tf.cast(result["gradient"], tf.float64), gradient, atol=1e-2 * scale)


def test_equal_projections_leave_the_choice_open() -> None:
    """All similarities are equal, so each query has 2N - 1 equal candidates."""
    result = _step(True, 0.1)(tf.ones([8, 3], tf.float64))
    assert float(result["loss"]) == pytest.approx(2 * np.log(7), rel=1e-12)
    assert float(result["entropy"]) == pytest.approx(np.log(4), rel=1e-6)
    np.testing.assert_allclose(result["gradient"], np.zeros((8, 3)), atol=1e-12)


def test_normalized_loss_ignores_length() -> None:
    z = _projections(8, 6).astype(np.float64)
    lengths = np.linspace(0.1, 50.0, 16)[:, None]
    assert float(nt_xent(z * lengths)[0]) == pytest.approx(float(nt_xent(z)[0]), rel=1e-12)
