"""Whole runs that are small: ResNet-18 on a few digits of 8 pixels."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil

import keras
import numpy as np
import tensorflow as tf

from tf_simclrv2 import (
    DataConfig,
    EvaluationConfig,
    ExperimentConfig,
    ModelConfig,
    ObjectiveConfig,
    OptimizerConfig,
    RunConfig,
    TrainingConfig,
)
from tf_simclrv2.config import DistillationConfig
from tf_simclrv2.training.run import Run

STEPS = 4


def config_for(model_dir: pathlib.Path, **changes) -> ExperimentConfig:
    """Four steps of pretraining ResNet-18 on 40 digits of 8 pixels, not exported; `changes` by field name."""
    parts = {
        "objective": ObjectiveConfig(),
        "distillation": DistillationConfig(),
        "model": ModelConfig(resnet_depth=18, image_size=8),
        "optimizer": OptimizerConfig(learning_rate=1.0, warmup_epochs=0, weight_decay=1e-4),
        "data": DataConfig(
            dataset="digits", train_split="train[:40]", eval_split="test[:30]", random_flip=False
        ),
        "training": TrainingConfig(train_batch_size=16, train_steps=STEPS),
        "evaluation": EvaluationConfig(eval_batch_size=16),
        "run": RunConfig(
            mode="train_then_eval",
            model_dir=str(model_dir),
            checkpoint_steps=2,
            strategy="one_device",
            report_images=0,
            keep_hub_module_max=0,
        ),
    }
    for name, part in parts.items():
        fields = {field.name for field in dataclasses.fields(part)}
        here = {key: changes.pop(key) for key in list(changes) if key in fields}
        parts[name] = dataclasses.replace(part, **here)
    assert not changes, changes
    return ExperimentConfig(**parts)


class Lines(list):
    """Collects what a run says."""

    def __call__(self, text: str) -> None:
        self.extend(text.splitlines())

    def __contains__(self, part: object) -> bool:
        return any(str(part) in line for line in self)


def execute(config: ExperimentConfig) -> tuple[dict, Lines, Run]:
    keras.backend.clear_session()
    lines = Lines()
    run = Run(config, {"typed": 1}, say=lines)
    return run.execute(), lines, run


def weights_of(directory: pathlib.Path, step: int = STEPS) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(directory / f"ckpt-{step}"))
    keys = [
        key
        for key in reader.get_variable_to_shape_map()
        if key.startswith(("model/", "optimizer/", "position/", "memory/"))
    ]
    return {key: reader.get_tensor(key) for key in keys}


def copy_checkpoint(source: pathlib.Path, target: pathlib.Path, step: int) -> None:
    """Makes `target` look like a run that was stopped right after the checkpoint of `step`."""
    target.mkdir(exist_ok=True)
    for path in [*source.glob(f"ckpt-{step}.*"), source / "config.json"]:
        shutil.copy(path, target)
    state = f'model_checkpoint_path: "ckpt-{step}"\nall_model_checkpoint_paths: "ckpt-{step}"\n'
    (target / "checkpoint").write_text(state)
