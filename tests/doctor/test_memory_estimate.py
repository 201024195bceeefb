"""The estimate of a step's memory against what a process has held, and against graphs counted by hand."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
import tensorflow as tf

from tf_simclrv2 import DataConfig, ExperimentConfig, ModelConfig, TrainingConfig
from tf_simclrv2.doctor.memory_estimate import live_peak, on_gpu_mb

EXAMINED = pathlib.Path(__file__).with_name("examined.py")
R18 = ModelConfig(resnet_depth=18, image_size=32, num_classes=10)
KILO = tf.TensorSpec([256], tf.float32)  # 1024 bytes.


def peak_of(function, *specs: tf.TensorSpec) -> int:
    return live_peak(tf.function(function, autograph=False).get_concrete_function(*specs).graph)


def test_a_chain_holds_two_links():
    assert peak_of(lambda x: tf.sin(tf.cos(tf.tan(x))), KILO) == 2048


def test_what_is_needed_later_stays():
    def both(x):
        early = tf.cos(x)
        late = tf.sin(tf.tan(tf.atan(x)))
        return tf.concat([early, late], 0)

    assert peak_of(both, KILO) == 4096  # The two and what they are joined to.


def test_other_names_and_what_nobody_needs_cost_nothing():
    def renamed(x):
        tf.cos(tf.cos(x))
        return tf.identity(tf.reshape(tf.sin(x), [16, 16]))

    assert peak_of(renamed, KILO) == 1024


def test_half_precision_takes_half():
    assert peak_of(lambda x: tf.sin(x), tf.TensorSpec([256], tf.bfloat16)) == 512


def test_bodies_are_counted_where_they_are_called():
    inner = tf.function(lambda x: tf.reduce_sum(tf.sin(tf.cos(x))), autograph=False)

    def called(x):
        kept = tf.tan(x)
        return kept + inner(x)

    assert peak_of(called, KILO) == 1024 + 2048


def test_a_loop_holds_one_round():
    def rounds(x):
        def body(i, total):
            return i + 1, total + tf.reduce_sum(tf.sin(tf.cos(x)))

        return tf.while_loop(lambda i, total: i < 1000, body, (0, 0.0))[1]

    assert 2048 <= peak_of(rounds, KILO) < 2200


def test_a_gpu_holds_the_variables_and_the_tensors_of_a_step():
    weight, momentum = (tf.Variable(tf.ones([256])) for _ in range(2))  # 1024 bytes each.

    @tf.function(autograph=False)
    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.sin(weight * x))
        momentum.assign_add(tape.gradient(loss, weight))  # Not read by value.
        weight.assign_sub(x)

    graph = step.get_concrete_function(KILO).graph
    assert on_gpu_mb(graph, 4096) == (2 * 1024 + live_peak(graph) + 4096) / 2**20
    compiled = tf.function(tf.function(step.python_function, jit_compile=True))
    assert on_gpu_mb(compiled.get_concrete_function(KILO).graph, 4096) == on_gpu_mb(graph, 4096)


CONFIGURATIONS = {
    "float32": TrainingConfig(train_batch_size=32),
    "mixed_bfloat16": TrainingConfig(train_batch_size=32, precision="mixed_bfloat16"),
    "micro-batches": TrainingConfig(train_batch_size=96, microbatch_size=32),
    "rematerialized": TrainingConfig(train_batch_size=64, rematerialize=True),
}


@pytest.mark.parametrize("training", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_the_estimate_is_what_a_process_holds(training):
    config = ExperimentConfig(model=R18, data=DataConfig(use_blur=False), training=training)
    done = subprocess.run(
        [sys.executable, str(EXAMINED), config.to_json(), "1"],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    print(found)
    assert found["estimate_mb"] == pytest.approx(found["peak_mb"], rel=0.2), found
    # What Python and TensorFlow hold before the step would hide a wrong estimate of the step.
    estimated, taken = (found[name] - found["held_mb"] for name in ("estimate_mb", "peak_mb"))
    assert estimated == pytest.approx(taken, rel=0.3), found
