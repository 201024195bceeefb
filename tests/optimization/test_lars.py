"""LARS against five published steps in eight settings, over replicas, and after a restart."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.goldens import load, value
from tf_simclrv2.config import ExperimentConfig, ModelConfig
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.optimization import LARS, WarmupCosine
from tf_simclrv2.tasks import FineTuning

GOLDEN = load("lars")
RUNS = GOLDEN["runs"]
# lars.json does not tell the shapes; no other ones give its numbers.
SHAPES = {
    "resnet/conv2d_fixed_padding/conv2d/kernel": (3, 3, 3, 8),
    "resnet/batch_norm_relu/sync_batch_normalization/gamma": (8,),
    "resnet/batch_norm_relu/sync_batch_normalization/beta": (8,),
    "resnet/batch_norm_relu_1/batch_normalization_1/gamma": (8,),
    "resnet/block_group1/bottleneck_block/se__layer/conv2d_5/kernel": (1, 1, 8, 4),
    "resnet/block_group1/bottleneck_block/se__layer/conv2d_5/bias": (4,),
    "projection_head/nl_0/dense/kernel": (8, 8),
    "head_supervised/linear_layer/dense_3/kernel": (8, 10),
    "head_supervised/linear_layer/dense_3/bias": (10,),
    "probe/unbiased/kernel": (4, 4),
    "probe/BIAS/kernel": (4, 4),
    "probe/gamma": (6,),
    "probe/zero_weight/kernel": (4, 4),
    "probe/zero_grad/kernel": (4, 4),
}


def _run_id(run: dict) -> str:
    momentum = "classic" if run["classic_momentum"] else "post"
    return f"{momentum}{'-nesterov' if run['use_nesterov'] else ''}-decay{run['weight_decay']}"


def _optimizer(run: dict, **options) -> LARS:
    names = ("weight_decay", "use_nesterov", "classic_momentum")
    return LARS(
        learning_rate=GOLDEN["learning_rate"],
        momentum=GOLDEN["momentum"],
        trust_coefficient=GOLDEN["eeta"],
        **{name: run[name] for name in names},
        **options,
    )


def _variables(run: dict, dtype: str) -> dict[str, keras.Variable]:
    def initial(name: str) -> np.ndarray:
        shape = SHAPES[name]
        return np.zeros(shape) if name == "probe/zero_weight/kernel" else value(name, shape)

    return {name: keras.Variable(initial(name), dtype=dtype) for name in run["variables"]}


def _gradient(step: int, name: str, variable: keras.Variable) -> np.ndarray:
    if name == "probe/zero_grad/kernel":
        return np.zeros(variable.shape, variable.dtype)
    return value(f"grad/{step}/{name}", variable.shape).astype(variable.dtype)


def _exclude(optimizer: LARS, run: dict, variables: dict[str, keras.Variable]) -> None:
    excluded = {
        flag: [variables[name] for name, golden in run["variables"].items() if not golden[flag]]
        for flag in ("decayed", "adapted")
    }
    optimizer.exclude_from_weight_decay(var_list=excluded["decayed"])
    optimizer.exclude_from_layer_adaptation(excluded["adapted"])


@pytest.mark.parametrize("precision, tolerance", [("float64", 1e-9), ("float32", 1e-5)])
@pytest.mark.parametrize("run", RUNS, ids=_run_id)
def test_published_steps(run: dict, precision: str, tolerance: float) -> None:
    variables = _variables(run, precision)
    optimizer = _optimizer(run)
    _exclude(optimizer, run, variables)
    for step in range(GOLDEN["steps"]):
        gradients = [tf.constant(_gradient(step, name, v)) for name, v in variables.items()]
        optimizer.apply(gradients, list(variables.values()))
    for (name, variable), slot in zip(variables.items(), optimizer.momentums, strict=True):
        want = run["variables"][name][precision]
        for array, prefix in ((np.asarray(variable), ""), (np.asarray(slot), "momentum_")):
            scale = want[f"{prefix}l2"] / np.sqrt(array.size)
            norm = np.linalg.norm(array.astype(np.float64))
            np.testing.assert_allclose(norm, want[f"{prefix}l2"], rtol=tolerance, err_msg=name)
            first = array.ravel()[:8]
            np.testing.assert_allclose(
                first, want[f"{prefix}first8"], rtol=0, atol=tolerance * scale, err_msg=name
            )
        assert slot.dtype == precision


@pytest.mark.parametrize("run", RUNS[:4], ids=_run_id)
def test_gradients_are_summed_over_replicas(replicas: Callable, run: dict) -> None:
    names = list(run["variables"])

    def train(count: int) -> list[np.ndarray]:
        spread = replicas(count)
        with spread.scope():
            variables = _variables(run, "float64")
            optimizer = _optimizer(run)
            _exclude(optimizer, run, variables)
            optimizer.build(list(variables.values()))

        def step(*gradients: tf.Tensor) -> tf.Tensor:
            optimizer.apply([tf.squeeze(g, 0) for g in gradients], list(variables.values()))
            return tf.zeros([])

        for i in range(2):
            # Replica 0 holds a quarter of the gradient and the last one the rest.
            shares = np.zeros(count)
            shares[0] += 0.25
            shares[-1] += 0.75
            spread.run(
                step, *(np.multiply.outer(shares, _gradient(i, name, variables[name])) for name in names)
            )
        return [np.asarray(v) for v in (*variables.values(), *optimizer.momentums)]

    for alone, together in zip(train(1), train(2), strict=True):
        np.testing.assert_allclose(together, alone, rtol=1e-12, atol=1e-14)


def test_config_round_trip() -> None:
    optimizer = LARS(
        learning_rate=WarmupCosine(4.8, total_steps=100, warmup_steps=10),
        momentum=0.8,
        weight_decay=1e-4,
        use_nesterov=True,
        classic_momentum=False,
        trust_coefficient=0.02,
    )
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(copy, LARS)
    assert copy.get_config() == optimizer.get_config()
    assert float(copy.learning_rate) == float(optimizer.learning_rate)
    for name in ("momentum", "l2_weight_decay", "use_nesterov", "classic_momentum", "trust_coefficient"):
        assert getattr(copy, name) == getattr(optimizer, name)


def test_schedule_is_the_learning_rate() -> None:
    """Without momentum and trust ratio a step is the rate of its index, from 0, times the gradient."""
    schedule = WarmupCosine(0.5, total_steps=6, warmup_steps=2)
    weight = keras.Variable(np.zeros(1), dtype="float64")
    optimizer = LARS(schedule, momentum=0.0)
    optimizer.exclude_from_layer_adaptation([weight])
    for step in range(8):
        before = float(weight[0])
        optimizer.apply([tf.ones([1], tf.float64)], [weight])
        np.testing.assert_allclose(before - float(weight[0]), float(schedule(step)), rtol=1e-9, atol=1e-12)
    assert int(optimizer.iterations) == 8


@pytest.mark.parametrize("classic", [True, False])
def test_step_does_not_depend_on_the_size_of_the_gradient(classic: bool) -> None:
    rng = np.random.default_rng(1)
    start, gradient = rng.standard_normal((2, 4, 3))
    ends = []
    for factor in (1.0, 1000.0):
        weight = keras.Variable(start, dtype="float64")
        LARS(2.0, classic_momentum=classic).apply([tf.constant(factor * gradient)], [weight])
        ends.append(np.asarray(weight))
    np.testing.assert_allclose(ends[1], ends[0], rtol=1e-12)
    assert np.linalg.norm(ends[0] - start) == pytest.approx(2.0 * 1e-3 * np.linalg.norm(start), rel=1e-12)


def test_half_precision_gradients_meet_float32_state() -> None:
    weight = keras.Variable(np.ones((2, 2)), dtype="float32")
    optimizer = LARS(1.0)
    optimizer.apply([tf.ones([2, 2], tf.bfloat16)], [weight])
    assert optimizer.momentums[0].dtype == "float32"
    np.testing.assert_allclose(weight, np.full((2, 2), 1 - 1e-3), rtol=1e-6)


@pytest.mark.parametrize("argument", ["momentum", "weight_decay"])
def test_negative_settings(argument: str) -> None:
    with pytest.raises(ConfigError, match=f"{argument} is -0.1; it must be at least 0"):
        LARS(**{argument: -0.1})


def test_variables_can_be_excluded_from_decay_by_name() -> None:
    weights = [keras.Variable(np.full(2, 3.0), dtype="float64", name=name) for name in ("kernel", "bias_1")]
    optimizer = LARS(1.0, momentum=0.0, weight_decay=0.5)
    optimizer.exclude_from_layer_adaptation(weights)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.apply([tf.ones([2], tf.float64)] * 2, weights)
    np.testing.assert_allclose(weights[0], 3.0 - (1.0 + 0.5 * 3.0))
    np.testing.assert_allclose(weights[1], 3.0 - 1.0)


def test_a_task_makes_the_exclusions_of_a_wrapped_optimizer_too() -> None:
    """Without a gradient, only what decays moves."""
    config = ExperimentConfig(model=ModelConfig(resnet_depth=18, image_size=8, num_classes=2))
    moved = []
    for wrap in (lambda optimizer: optimizer, keras.optimizers.LossScaleOptimizer):
        task = FineTuning(config)
        task.compile(wrap(LARS(0.1, weight_decay=1e-4)))
        weights = task.network.trainable_variables
        before = [variable.numpy() for variable in weights]
        task.optimizer.apply([tf.zeros(variable.shape) for variable in weights], weights)
        pairs = zip(weights, before, strict=True)
        moved.append([not np.array_equal(variable, old) for variable, old in pairs])
    assert moved[0] == moved[1] and {True, False} == set(moved[0])


def test_exclusions_come_before_the_first_step() -> None:
    weight = keras.Variable(np.ones(2))
    optimizer = LARS(1.0)
    optimizer.build([weight])
    for exclude in (optimizer.exclude_from_weight_decay, optimizer.exclude_from_layer_adaptation):
        with pytest.raises(ValueError, match="before"):
            exclude([weight])


def exclusions_of(optimizer: LARS) -> list[list[int]]:
    config = optimizer.get_config()
    return [config[name]["positions"] for name in ("not_decayed", "not_adapted")]


def test_a_task_keeps_the_exclusions_that_lars_was_told() -> None:
    config = ExperimentConfig(model=ModelConfig(resnet_depth=18, image_size=8, num_classes=2))
    task = FineTuning(config)
    first, second, *_ = task.network.trainable_variables
    decaying, adapting = LARS(0.1), LARS(0.1)
    decaying.exclude_from_weight_decay([second])
    adapting.exclude_from_layer_adaptation([first])
    found = []
    for optimizer in (decaying, adapting):
        task.compile(optimizer)
        found.append(exclusions_of(optimizer))
    assert found == [[[1], []], [[], [0]]]
    task.compile(keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(decaying)))
    assert exclusions_of(task.optimizer) == [[1], []]
    task.compile(LARS(0.1))
    assert all(exclusions_of(task.optimizer))
