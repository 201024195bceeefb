"""Errors of a device, most of them real ones of a CPU, as sentences."""

from __future__ import annotations

import dataclasses

import pytest
import tensorflow as tf

from tests.small_network import small_network as small_network
from tests.training.small_runs import config_for, execute
from tf_simclrv2 import EvaluationConfig, ModelConfig, RunError, TrainingConfig
from tf_simclrv2.distribution.device_errors import (
    cures_of_building,
    cures_of_evaluation,
    cures_of_training,
    device_errors_explained,
)
from tf_simclrv2.tasks import Task
from tf_simclrv2.training import preparation

PLAIN = TrainingConfig(train_batch_size=512)


def test_memory_that_runs_out() -> None:
    with pytest.raises(RunError) as refused, device_errors_explained("lower --train_batch_size (512)"):
        tf.zeros([2**45])
    assert str(refused.value).startswith(
        "the device ran out of memory (OOM when allocating tensor with shape["
    )
    assert str(refused.value).endswith(
        "); lower --train_batch_size (512), or end other programs that use it."
    )
    assert "\n" not in str(refused.value)


def test_memory_that_runs_out_in_a_compiled_step() -> None:
    """What a compiled step said whose tensors did not fit."""
    message = "Out of memory while trying to allocate 1133871366144 bytes. [Op:__inference_step_70]"
    sentence = (
        r"ran out of memory \(Out of memory while trying to allocate 1133871366144 bytes\); do less, or"
    )
    with pytest.raises(RunError, match=sentence), device_errors_explained("do less"):
        raise tf.errors.ResourceExhaustedError(None, None, message)


@pytest.mark.parametrize(
    ("changes", "cures"),
    [
        (
            {},
            "lower --train_batch_size (512), compute it in parts (--microbatch_size=256), "
            "pass --rematerialize or pass --precision=mixed_bfloat16",
        ),
        (
            {"microbatch_size": 128, "precision": "mixed_bfloat16"},
            "lower --train_batch_size (512), lower --microbatch_size (128) or pass --rematerialize",
        ),
        (
            {"train_batch_size": 3, "rematerialize": True, "precision": "mixed_float16"},
            "lower --train_batch_size (3)",
        ),
    ],
)
def test_only_what_is_not_in_use_is_a_cure(changes: dict, cures: str) -> None:
    assert cures_of_training(dataclasses.replace(PLAIN, **changes)) == cures


def test_parts_can_be_shared_by_the_replicas() -> None:
    twelve = dataclasses.replace(PLAIN, train_batch_size=12)
    assert "(--microbatch_size=6)" in cures_of_training(twelve)
    assert "(--microbatch_size=4)" in cures_of_training(twelve, replicas=4)
    assert "microbatch_size" not in cures_of_training(twelve, replicas=12)


def test_a_run_that_has_begun_changes_nothing_that_is_settled() -> None:
    assert cures_of_training(PLAIN, begun=True) == (
        "pass --rematerialize or resume on a device with more memory"
    )
    rematerialized = dataclasses.replace(PLAIN, rematerialize=True)
    assert cures_of_training(rematerialized, begun=True) == "resume on a device with more memory"


def test_an_evaluation_has_its_own_cure() -> None:
    assert cures_of_evaluation(EvaluationConfig(eval_batch_size=64)) == "lower --eval_batch_size (64)"


def test_an_operation_that_xla_has_not() -> None:
    @tf.function(jit_compile=True)
    def step(x: tf.Tensor) -> tf.Tensor:
        return tf.strings.length(tf.strings.as_string(x))

    with pytest.raises(RunError) as refused, device_errors_explained(""):
        step(tf.constant(1.0))
    assert str(refused.value) == (
        "XLA cannot compile AsString, which the step contains; use --compile=cluster, which compiles what is "
        "around it, or --compile=none."
    )


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.UnimplementedError(None, None, "DNN library is not found.\n\t [[{{node conv}}]]"),
        tf.errors.FailedPreconditionError(
            None, None, "DNN library initialization failed. Look at the errors"
        ),
    ],
)
def test_no_cudnn(error: tf.errors.OpError) -> None:
    sentence = r"^cuDNN does not work \(DNN library i.*; install version 9, with"
    with pytest.raises(RunError, match=sentence), device_errors_explained(""):
        raise error


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.ResourceExhaustedError(None, None, "/runs/ckpt-1; No space left on device"),
        tf.errors.InvalidArgumentError(None, None, "images are not in [0, 1]"),
    ],
)
def test_other_errors_stay_what_they_are(error: tf.errors.OpError) -> None:
    with pytest.raises(type(error)) as raised, device_errors_explained(""):
        raise error
    assert raised.value is error


@pytest.mark.parametrize(
    ("changes", "cures"),
    [
        (
            {"resnet_depth": 152, "width_multiplier": 3},
            "lower --resnet_depth (152) or lower --width_multiplier (3)",
        ),
        ({"resnet_depth": 18}, "compute on the CPU (CUDA_VISIBLE_DEVICES='')"),
    ],
)
def test_a_network_that_does_not_fit_has_its_own_cures(changes: dict, cures: str) -> None:
    assert cures_of_building(ModelConfig(**changes)) == cures


def test_a_network_that_does_not_fit(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "build_task", lambda *_: tf.zeros([2**45]))
    with pytest.raises(RunError, match=r"out of memory \(OOM .*; lower --resnet_depth \(50\), or end other"):
        execute(config_for(tmp_path / "run", resnet_depth=50))


def test_a_run_ends_with_the_sentence(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_much(self: Task, batch: dict) -> dict:
        size = tf.constant(2**45, tf.int64) + tf.cast(batch["key"][0], tf.int64)
        return {"total_loss": tf.reduce_sum(tf.fill([size], 0.0))}

    monkeypatch.setattr(Task, "train_step", too_much)
    with pytest.raises(RunError, match=r"out of memory \(OOM .*; lower --train_batch_size \(16\), compute"):
        execute(config_for(tmp_path / "run", mode="train"))
