"""Small configs, batches and a teacher for the stages."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from tests.goldens import image
from tf_simclrv2 import (
    DataConfig,
    ExperimentConfig,
    ModelConfig,
    ObjectiveConfig,
    OptimizerConfig,
    TrainingConfig,
)
from tf_simclrv2.config import DistillationConfig

Batch = dict[str, np.ndarray]

# A whole ResNet-18 at the size of the goldens.
RESNET_18 = {
    "resnet_depth": 18,
    "image_size": 32,
    "temperature": 0.5,
    "weight_decay": 1e-4,
    "train_batch_size": 8,
}
BATCH = 8
CLASSES = 10


def config_of(flags: dict[str, Any], precision: str = "float64") -> ExperimentConfig:
    """The config that flags describe, with blur only if they ask for it; a teacher is to be passed."""
    flags = {"use_blur": False, "teacher": "linear_teacher", **flags}

    def chosen(cls: type) -> Any:
        names = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in flags.items() if name in names})

    truncated = flags.get("train_mode", "pretrain") != "pretrain"
    return ExperimentConfig(
        model=dataclasses.replace(chosen(ModelConfig), num_classes=CLASSES, truncate_proj_head=truncated),
        objective=chosen(ObjectiveConfig),
        distillation=chosen(DistillationConfig),
        optimizer=chosen(OptimizerConfig),
        data=chosen(DataConfig),
        training=dataclasses.replace(chosen(TrainingConfig), precision=precision),
    )


def batch_of(config: ExperimentConfig) -> Batch:
    """The fixed batch of the published training steps, as the stage takes it."""
    dtype = "float64" if config.training.precision == "float64" else "float32"
    labels = np.arange(BATCH) % CLASSES
    size = config.model.image_size
    if config.training.train_mode == "pretrain":
        views = image(BATCH, size, 6, 9).astype(dtype)
        return {"view_1": views[..., :3], "view_2": views[..., 3:], "label": labels}
    images = image(BATCH, size, 3, 9).astype(dtype)
    if config.training.train_mode != "distill":
        return {"image": images, "label": labels}
    if config.distillation.distill_alpha == 1.0:
        return {"image": images}
    few = config.labeled_batch_size
    labeled = image(few, size, 3, 10).astype(dtype)
    return {"image": images, "labeled_image": labeled, "label": np.arange(few) % CLASSES}


def linear_teacher(images: tf.Tensor) -> tf.Tensor:
    """Logits [N, classes] that depend on the image alone."""
    pixels = tf.reshape(images, [-1, np.prod(images.shape[1:])])
    weights = np.random.default_rng(5).standard_normal((pixels.shape[1], CLASSES))
    return tf.matmul(pixels, tf.constant(weights, images.dtype)) / 10.0
