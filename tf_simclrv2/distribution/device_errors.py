"""The message of a computation that its device could not do, for want of memory, cuDNN or a compiler."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import tensorflow as tf

from tf_simclrv2.config import RESNET_DEPTHS, EvaluationConfig, ModelConfig, TrainingConfig
from tf_simclrv2.errors import RunError

# What helps where a command has nothing to lower.
ON_THE_CPU = "compute on the CPU (CUDA_VISIBLE_DEVICES='')"
# A full disk raises the same kinds of errors, with other words.
_OUT_OF_MEMORY = re.compile(r"OOM when allocating|[Oo]ut of memory|[Ff]ailed to allocate")
_NO_KERNEL = re.compile(r"No registered '(\w+)' OpKernel for XLA_")
_NO_CUDNN = re.compile(r"DNN library (is not found|initialization failed)|cuDNN failed to initialize")


@contextlib.contextmanager
def device_errors_explained(cures: str) -> Iterator[None]:
    """Turns the errors of a device into sentences that say what to do.

    Args:
        cures: What to lower if memory runs out, in words.

    Raises:
        RunError: Memory ran out, cuDNN does not work, or XLA cannot compile an operation.
    """
    try:
        yield
    except tf.errors.OpError as error:
        sentence = _sentence(error, cures)
        if not sentence:
            raise
        raise RunError(sentence) from error


def cures_of_training(config: TrainingConfig, replicas: int = 1, begun: bool = False) -> str:
    """Returns what makes a training step smaller, may be changed, and is not in use yet.

    Args:
        config: The run's.
        replicas: What divides every batch; 1 by default.
        begun: Whether there are checkpoints, with which the batch and the precision are settled; False by
            default.
    """
    if begun:
        more = "resume on a device with more memory"
        return more if config.rematerialize else _any_of(["pass --rematerialize", more])
    batch, part = config.train_batch_size, config.microbatch_size
    cures = [f"lower --train_batch_size ({batch})"]
    if part:
        cures.append(f"lower --microbatch_size ({part})")
    elif half := next((n for n in range(batch // 2, 1, -1) if batch % n == 0 and n % replicas == 0), 0):
        cures.append(f"compute it in parts (--microbatch_size={half})")
    if not config.rematerialize:
        cures.append("pass --rematerialize")
    if config.precision in ("float32", "float64"):
        cures.append("pass --precision=mixed_bfloat16")
    return _any_of(cures)


def cures_of_evaluation(config: EvaluationConfig) -> str:
    """Returns what makes an evaluation smaller.

    Args:
        config: The run's.
    """
    return f"lower --eval_batch_size ({config.eval_batch_size})"


def cures_of_building(config: ModelConfig) -> str:
    """Returns what makes a network smaller, whose weights alone do not fit.

    Args:
        config: The network's.
    """
    cures = (
        [f"lower --resnet_depth ({config.resnet_depth})"] if config.resnet_depth > min(RESNET_DEPTHS) else []
    )
    if config.width_multiplier > 1:
        cures.append(f"lower --width_multiplier ({config.width_multiplier})")
    return _any_of(cures or [ON_THE_CPU])


def _sentence(error: tf.errors.OpError, cures: str) -> str:
    """Says what has happened; empty if it is something else."""
    if found := _OUT_OF_MEMORY.search(error.message):
        what = re.split(r"\n| \[Op:|\s*\[\[", error.message[found.start() :])[0]
        return (
            f"the device ran out of memory ({what.rstrip('.')}); {cures}, or end other programs that use it."
        )
    if found := _NO_KERNEL.findall(error.message):
        operations = ", ".join(dict.fromkeys(found))
        return (
            f"XLA cannot compile {operations}, which the step contains; use --compile=cluster, which "
            "compiles what is around it, or --compile=none."
        )
    if found := _NO_CUDNN.search(error.message):
        version = tf.sysconfig.get_build_info().get("cudnn_version", "its")
        return (
            f"cuDNN does not work ({found[0]}); install version {version}, with which this TensorFlow was "
            "built, as `pip install tensorflow[and-cuda]` does, and check whether the GPU has free memory."
        )
    return ""


def _any_of(cures: list[str]) -> str:
    *first, last = cures
    return f"{', '.join(first)} or {last}" if first else last
