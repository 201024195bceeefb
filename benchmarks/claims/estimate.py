"""How long the runs of a measurement take on one GPU, estimated from the step that was measured on one."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.claims.plan import Stage
from benchmarks.claims.scale import Scale

# Of an H200 (docs/performance.md): ResNet-18 at 32 pixels, a pretraining step of 512 images, compiled. The
# rest is assumed: that launching its kernels bounds a small step, and what a run takes beside its steps.
SECONDS_PER_PAIR = 0.0123 / 512
LEAST_STEP, START = 0.004, 45.0
# Multiplications relative to ResNet-18's.
_DEPTHS = {18: 1.0, 34: 2.0, 50: 2.25}
# Relative to pretraining, which trains on two views of an image. A forward pass is a third of training.
_ONE_VIEW, _FORWARD = 1 / 2, 1 / 6


def piece_seconds(stages: Sequence[Stage], scale: Scale) -> float:
    """Returns the seconds of a part of a measurement, nothing of which is there yet."""
    return sum(stage_seconds(stage, scale) for stage in stages)


def stage_seconds(stage: Stage, scale: Scale) -> float:
    """Returns the seconds of a run."""
    if "train_steps" in stage.flags:
        steps = _number(stage, "train_steps")
    else:
        steps = _number(stage, "train_epochs") * (scale.train_images // _number(stage, "train_batch_size"))
    return START + steps * max(LEAST_STEP, SECONDS_PER_PAIR * _work(stage, scale))


def _work(stage: Stage, scale: Scale) -> float:
    """The work of a step, in that of pretraining a ResNet-18 on an image."""
    batch, own = _number(stage, "train_batch_size"), _DEPTHS[_number(stage, "resnet_depth")]
    if stage.recipe == "digits_pretrain":  # A memory's momentum encoder passes one view forward, at most.
        return batch * own * (1.0 + (_FORWARD if "memory_size" in stage.flags else 0.0))
    if stage.recipe == "digits_distill":  # With the teacher's forward pass, and labeled images in addition.
        images = batch * (_ONE_VIEW * own + _FORWARD * _DEPTHS[scale.big_depth])
        return images + _number(stage, "labeled_batch_size") * _ONE_VIEW * own
    return batch * _ONE_VIEW * own


def _number(stage: Stage, flag: str) -> int:
    value = stage.flags[flag]
    assert isinstance(value, int)
    return value
