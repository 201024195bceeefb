"""Products that no setting of the process makes less than float32, on every kind of device."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import tensorflow as tf

from tf_simclrv2.distribution import devices
from tf_simclrv2.distribution.exact_matmul import exact_matmul
from tf_simclrv2.evaluation import logistic_regression, nearest_neighbors, similar_pairs
from tf_simclrv2.objectives.collapse import collapse_gauges
from tf_simclrv2.objectives.contrastive import nt_xent
from tf_simclrv2.objectives.memory_bank import nt_xent_with_memory_bank
from tf_simclrv2.rehearsal.refusals import graphs_of

ADVICE = (
    "`tensorflow.compiler.tf2xla.python.xla.dot_general` has changed. See how it sets the precision of a "
    "product now, and do the same in tf_simclrv2/distribution/exact_matmul.py."
)
HIGHEST = "operand_precision={highest,highest}"
ROWS = np.random.default_rng(0).standard_normal((16, 6)).astype(np.float32)


@pytest.fixture
def tf32() -> Iterator[None]:
    """TensorFloat-32 is allowed, as it is by default outside of tests."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(True)
    yield
    tf.config.experimental.enable_tensor_float_32_execution(before)


@pytest.fixture(params=["GPU", "TPU"])
def accelerator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is built for such a device is run here by XLA on the CPU."""
    monkeypatch.setattr(devices, "on_cpu", lambda: False)
    monkeypatch.setattr(devices, "on_tpu", lambda: request.param == "TPU")
    return request.param


def products_of(step: Callable, *arguments: tf.Tensor) -> list[str]:
    """The products in what XLA makes of a function."""
    compiled = tf.function(step, autograph=False, jit_compile=True)
    hlo = compiled.experimental_get_compiler_ir(*arguments)(stage="hlo")
    return [line for line in hlo.splitlines() if re.search(r" dot\(", line)]


@pytest.mark.usefixtures("tf32")
def test_a_plain_product_follows_the_setting_of_the_process() -> None:
    """Else the other tests here would show nothing."""
    plain = products_of(lambda a, b: tf.matmul(a, b), tf.ones([2, 3]), tf.ones([3, 2]))
    assert plain and HIGHEST not in plain[0]
    tf.config.experimental.enable_tensor_float_32_execution(False)
    exact = products_of(lambda a, b: tf.matmul(a, b), tf.ones([2, 3]), tf.ones([3, 2]))
    assert exact and HIGHEST in exact[0]


@pytest.mark.usefixtures("tf32", "accelerator")
@pytest.mark.parametrize("transposed", [(False, False), (False, True), (True, False), (True, True)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_product_and_its_gradients(transposed: tuple[bool, bool], dtype: type) -> None:
    rng = np.random.default_rng(1)
    a, b, dy = (rng.standard_normal(shape).astype(dtype) for shape in ((3, 4), (4, 5), (3, 5)))
    factors = [tf.constant(x.T if flip else x) for x, flip in zip((a, b), transposed, strict=True)]

    @functools.partial(tf.function, jit_compile=True)
    def step(*factors: tf.Tensor) -> tuple:
        with tf.GradientTape() as tape:
            tape.watch(factors)
            y = exact_matmul(*factors, *transposed)
        return y, tape.gradient(y, factors, output_gradients=tf.constant(dy))

    try:
        y, (da, db) = step(*factors)
        products = products_of(step.python_function, *factors)
    except (AttributeError, TypeError) as error:
        pytest.fail(f"{ADVICE} ({error})")
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype is np.float32 else {"rtol": 1e-12}
    np.testing.assert_allclose(y, a @ b, **tolerance)
    for found, expected, flip in zip((da, db), (dy @ b.T, a.T @ dy), transposed, strict=True):
        np.testing.assert_allclose(found, expected.T if flip else expected, **tolerance)
    assert len(products) == 3 and all(HIGHEST in product for product in products), ADVICE


def losses() -> dict[str, Callable[[tf.Tensor], tf.Tensor]]:
    keys = tf.constant(ROWS[:, ::-1].copy())
    return {
        "NT-Xent": lambda z: nt_xent(z)[0],
        "memory bank": lambda z: nt_xent_with_memory_bank(z, keys, keys, 4)[0],
        "collapse": lambda z: tf.add_n(list(collapse_gauges(*tf.split(z, 2)).values())),
    }


@pytest.mark.usefixtures("tf32", "accelerator")
@pytest.mark.parametrize("name", losses())
def test_losses_and_measures_have_no_other_products(name: str) -> None:
    loss = losses()[name]

    def step(z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = loss(z)
        return value, tape.gradient(value, z)

    _assert_exact(step, tf.constant(ROWS))


@pytest.mark.usefixtures("tf32", "accelerator")
def test_evaluations_have_no_other_products() -> None:
    """Traced anew: what an evaluation has traced on a CPU stays in its function."""
    strengths, classes = 2, 3
    rows, weights = tf.constant(ROWS), tf.zeros([strengths, (ROWS.shape[1] + 1) * classes])
    labels, loss = tf.zeros(len(ROWS), tf.int32), tf.zeros([strengths], tf.float64)
    _assert_exact(logistic_regression._with_losses.python_function, rows, labels, weights, loss, weights)
    _assert_exact(logistic_regression._classes.python_function, rows, weights)
    found = tf.zeros([len(ROWS), 2]), tf.zeros([len(ROWS), 2], tf.int32)
    _assert_exact(nearest_neighbors._nearer.python_function, rows, rows, tf.constant(0), None, *found)
    _assert_exact(similar_pairs._above.python_function, rows, rows, tf.constant(0.9))


def _assert_exact(step: Callable, *arguments: tf.Tensor | None) -> None:
    """There are products in a function, and all are exact."""
    graph = tf.function(step, autograph=False).get_concrete_function(*arguments).graph
    ops = [op for inner in graphs_of(graph) for op in inner.get_operations()]
    assert not [op for op in ops if "MatMul" in op.type or "Einsum" in op.type]
    exact = [op for op in ops if op.type == "XlaDot"]
    # A precision of 2 is HIGHEST; field 1 of the message, packed, once for each factor.
    assert exact and {op.get_attr("precision_config") for op in exact} == {b"\n\x02\x02\x02"}


@pytest.mark.usefixtures("tf32")
@pytest.mark.parametrize("name", losses())
def test_losses_and_measures_are_those_of_a_cpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = losses()[name](tf.constant(ROWS))
    monkeypatch.setattr(devices, "on_cpu", lambda: False)
    np.testing.assert_allclose(losses()[name](tf.constant(ROWS)), expected, rtol=1e-5)
