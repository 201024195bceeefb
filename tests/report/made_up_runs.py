"""Directories as runs leave them, made up without training anything."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import tensorflow as tf

from tf_simclrv2 import DataConfig, ExperimentConfig, ModelConfig, RunConfig, TrainingConfig
from tf_simclrv2.report.observations import Observations

CLASSES = tuple(f"class {name}" for name in "ABCDEFGHIJ")
LAST_STEP = 90


def made_up_run(
    directory: pathlib.Path,
    images: int = 60,
    train_mode: str = "pretrain",
    label_fraction: float = 1.0,
    accuracy: float = 0.75,
) -> pathlib.Path:
    """A finished run with events, a result and what its network was seen to make of some images."""
    directory.mkdir(parents=True)
    config = ExperimentConfig(
        model=ModelConfig(resnet_depth=18, image_size=48, num_classes=10),
        data=DataConfig(dataset="cifar10", eval_split="test", label_fraction=label_fraction),
        training=TrainingConfig(train_mode=train_mode, train_batch_size=64),
        run=RunConfig(mode="train_then_eval", model_dir=str(directory)),
    )
    (directory / "config.json").write_text(config.to_json())
    (directory / "versions.json").write_text(json.dumps({"tensorflow": tf.__version__}))
    result = {
        "global_step": LAST_STEP,
        "eval/label_top_1_accuracy": accuracy,
        "linear/final_avg_pool/top_1_accuracy": 0.8,
        "linear_7_per_class/final_avg_pool/top_1_accuracy": 0.6,
    }
    (directory / "result.json").write_text(json.dumps(result))
    _write_events(directory, pretraining=train_mode == "pretrain")
    observed(images, train_examples=round(50_000 * label_fraction)).save(str(directory))
    return directory


def observed(images: int, train_examples: int = 50_000) -> Observations:
    """Coloured blobs whose class is seen by its features, most of the time."""
    rng = np.random.default_rng(0)
    labels = np.arange(images) % len(CLASSES)
    features = rng.normal(size=[len(CLASSES), 64])[labels] + 0.7 * rng.normal(size=[images, 64])
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -1.0)
    neighbors = np.argsort(-cosines, axis=1)[:, :8]
    predictions = labels.copy()
    predictions[::7] = labels[neighbors[::7, -1]]
    return Observations(
        images=_blobs(rng, labels, 48),
        labels=labels,
        predictions=predictions,
        votes=labels[neighbors[:, 0]],
        neighbors=neighbors,
        features=unit.astype(np.float32),
        views=np.stack([_blobs(rng, labels[:8], 96) for _ in range(2)], axis=1),
        similarity=(0.2 * rng.normal(size=[48, 48]) + 0.7 * np.eye(48)).clip(-1, 1).astype(np.float32),
        similarity_of_views=True,
        class_names=CLASSES,
        source="cifar10/test",
        step=LAST_STEP,
        train_examples=train_examples,
        numbers={
            "uniformity_of_h": -2.5,
            "effective_rank_of_h": 31.4,
            "width_of_h": 512.0,
            "alignment_of_pairs": 0.4,
        },
    )


def _blobs(rng: np.random.Generator, labels: np.ndarray, size: int) -> np.ndarray:
    """Photograph-like: smooth, coloured, a little noisy; uint8 [N, size, size, 3]."""
    front, back = rng.uniform(40, 215, [2, len(CLASSES), 1, 1, 3])[:, labels]
    y, x = np.mgrid[0:size, 0:size] / size
    centers = rng.uniform(0.3, 0.7, [len(labels), 2, 1, 1])
    distance = np.hypot(y - centers[:, 0], x - centers[:, 1])[..., np.newaxis]
    inside = 1 / (1 + np.exp(25 * (distance - 0.28)))
    pixels = inside * front + (1 - inside) * back
    return (pixels + rng.normal(scale=12, size=pixels.shape)).clip(0, 255).astype(np.uint8)


def _write_events(directory: pathlib.Path, pretraining: bool) -> None:
    tags = {
        "train/supervised_acc": lambda t: 0.1 + 0.6 * t,
        "train/supervised_loss": lambda t: 2.3 - t,
        "train/total_loss": lambda t: 9.0 - 3 * t,
        "learning_rate": lambda t: 0.3 * (1 - t),
        "performance/examples_per_second": lambda t: 200.0 + t,
        "performance/data_wait": lambda t: 0.02 + 0.01 * t,
        "performance/memory_mb": lambda t: 900.0 + 10 * t,
    }
    if pretraining:
        tags |= {
            "train/contrast_loss": lambda t: 8.0 - 3 * t,
            "train/contrast_acc": lambda t: 0.1 + 0.5 * t,
            "train/alignment": lambda t: 1.0 - 0.5 * t,
            "train/uniformity": lambda t: -2.0 - t,
            "train/effective_rank": lambda t: 20.0 + 10 * t,
        }
    with tf.summary.create_file_writer(str(directory)).as_default():
        for step in range(10, LAST_STEP + 1, 10):
            for tag, value in tags.items():
                tf.summary.scalar(tag, value(step / LAST_STEP), step=step)
    with tf.summary.create_file_writer(str(directory / "eval")).as_default():
        tf.summary.scalar("eval/label_top_1_accuracy", 0.75, step=LAST_STEP)
