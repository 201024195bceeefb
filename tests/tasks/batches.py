"""Small configs and batches for the stages."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from tests.goldens import image
from tf_simclrv2 import (
    DataConfig,
    ExperimentConfig,
    ModelConfig,
    ObjectiveConfig,
    OptimizerConfig,
    TrainingConfig,
)

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
    """The config that published flags describe, without blur."""

    def chosen(cls: type) -> Any:
        names = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in flags.items() if name in names})

    finetune = flags.get("train_mode") == "finetune"
    return ExperimentConfig(
        model=dataclasses.replace(chosen(ModelConfig), num_classes=CLASSES, truncate_proj_head=finetune),
        objective=chosen(ObjectiveConfig),
        optimizer=chosen(OptimizerConfig),
        data=DataConfig(use_blur=False),
        training=dataclasses.replace(chosen(TrainingConfig), precision=precision),
    )


def batch_of(config: ExperimentConfig) -> Batch:
    """The fixed batch of the published training steps, as the stage takes it."""
    dtype = "float64" if config.training.precision == "float64" else "float32"
    labels = np.arange(BATCH) % CLASSES
    size = config.model.image_size
    if config.training.train_mode == "finetune":
        return {"image": image(BATCH, size, 3, 9).astype(dtype), "label": labels}
    views = image(BATCH, size, 6, 9).astype(dtype)
    return {"view_1": views[..., :3], "view_2": views[..., 3:], "label": labels}
