"""The learning rate and the length of a run against the published numbers."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.goldens import load
from tf_simclrv2.config import OptimizerConfig, TrainingConfig
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.optimization import WarmupCosine, scaled_learning_rate, total_steps

GOLDEN = load("schedule")


def _schedule_id(case: dict) -> str:
    return f"{case['scaling']}-{case['batch_size']}-warmup{case['warmup_epochs']}"


def _schedule(case: dict) -> WarmupCosine:
    optimizer = OptimizerConfig(
        learning_rate=case["base_learning_rate"],
        learning_rate_scaling=case["scaling"],
        warmup_epochs=case["warmup_epochs"],
    )
    training = TrainingConfig(train_batch_size=case["batch_size"], train_epochs=case["train_epochs"])
    return WarmupCosine.from_config_values(optimizer, training, case["num_examples"])


@pytest.mark.parametrize("case", GOLDEN["schedules"], ids=_schedule_id)
def test_published_rates(case: dict) -> None:
    schedule = _schedule(case)
    assert schedule.total_steps == case["total_steps"]
    assert schedule.warmup_steps == case["warmup_steps_seen"]
    # Near the end the rate is what float32 leaves of 1 + cos.
    for step, rate in case["values"].items():
        assert float(schedule(int(step))) == pytest.approx(rate, rel=1e-5, abs=1e-7 * schedule.peak), step


@pytest.mark.parametrize("case", GOLDEN["schedules"], ids=_schedule_id)
def test_rates_equal_the_formula(case: dict) -> None:
    schedule = _schedule(case)
    peak = case["base_learning_rate"] * (
        case["batch_size"] / 256 if case["scaling"] == "linear" else math.sqrt(case["batch_size"])
    )
    warmup, total = case["warmup_steps_seen"], case["total_steps"]
    steps = np.arange(0, total + 20, 7)
    progress = np.clip((steps - warmup) / (total - warmup), 0, 1)
    expected = np.where(
        steps < warmup, peak * steps / max(warmup, 1), peak * (1 + np.cos(np.pi * progress)) / 2
    )
    np.testing.assert_allclose(schedule(tf.constant(steps)), expected, rtol=1e-5, atol=1e-6 * peak)


@pytest.mark.parametrize(
    "case",
    GOLDEN["train_steps"],
    ids=lambda c: f"{c['num_examples']}x{c['train_epochs']}-{c['train_steps_flag']}",
)
def test_published_lengths(case: dict) -> None:
    training = TrainingConfig(
        train_batch_size=case["train_batch_size"],
        train_epochs=case["train_epochs"],
        train_steps=case["train_steps_flag"],
    )
    assert total_steps(training, case["num_examples"]) == case["get_train_steps"]


@pytest.mark.parametrize(
    "scaling, batch, expected", [("linear", 4096, 4.8), ("sqrt", 4096, 19.2), ("linear", 8, 0.009375)]
)
def test_scaling(scaling: str, batch: int, expected: float) -> None:
    assert scaled_learning_rate(0.3, scaling, batch) == pytest.approx(expected, rel=1e-12)


def test_papers_rate() -> None:
    """SimCLRv2 pretrains with 0.1 · √4096 = 6.4."""
    assert scaled_learning_rate(0.1, "sqrt", 4096) == pytest.approx(6.4, rel=1e-12)


def test_warm_up_longer_than_the_run_never_leaves_warm_up() -> None:
    schedule = WarmupCosine(1.0, total_steps=10, warmup_steps=100)
    np.testing.assert_allclose([float(schedule(step)) for step in (0, 5, 10)], [0.0, 0.05, 0.1], rtol=1e-6)


def test_config_round_trip() -> None:
    schedule = WarmupCosine(4.8, total_steps=100, warmup_steps=10)
    copy = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(schedule))
    assert isinstance(copy, WarmupCosine)
    assert copy.get_config() == schedule.get_config()
    steps = tf.range(110)
    np.testing.assert_array_equal(copy(steps), schedule(steps))


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "sgd"},
        {"learning_rate": -0.1},
        {"learning_rate": float("nan")},
        {"learning_rate_scaling": "log"},
        {"warmup_epochs": -1},
        {"weight_decay": -1e-6},
        {"momentum": 1.0},
    ],
    ids=str,
)
def test_impossible_settings(options: dict) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(options))} is "):
        OptimizerConfig(**options)
