"""Directories as runs leave them, made up without training anything."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import tensorflow as tf

from tf_simclrv2 import DataConfig, ExperimentConfig, ModelConfig, RunConfig, TrainingConfig
from tf_simclrv2.data import Source
from tf_simclrv2.report.duplicates import DuplicatePair, Duplicates
from tf_simclrv2.report.observations import Observations
from tf_simclrv2.report.split_sample import SplitSample

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
    (directory / "result.json").write_text(json.dumps(result_of(accuracy)))
    (directory / "baselines.json").write_text(json.dumps(BASELINES))
    _write_events(directory, pretraining=train_mode == "pretrain")
    observed(images, train_examples=round(50_000 * label_fraction)).save(str(directory))
    return directory


def result_of(accuracy: float) -> dict:
    """What an evaluation leaves: the linear probe is best, and of class J there is no image."""
    present = CLASSES[:-1]
    return {
        "global_step": LAST_STEP,
        "eval/label_top_1_accuracy": accuracy,
        "eval/label_top_5_accuracy": 0.99,
        "eval/balanced_accuracy": accuracy - 0.1,
        "eval/accuracy_per_class": {name: 0.1 * i for i, name in enumerate(present)},
        "eval/images_per_class": {name: 7 if i else 44 for i, name in enumerate(present)},
        "linear/final_avg_pool/top_1_accuracy": 0.8,
        "linear/final_avg_pool/balanced_accuracy": 0.71,
        "linear/final_avg_pool/accuracy_per_class": {name: 1 - 0.1 * i for i, name in enumerate(present)},
        "linear_7_per_class/final_avg_pool/top_1_accuracy": 0.6,
    }


BASELINES = {
    "measured_on": {"train": ["cifar10/train", 2000, 50_000], "test": ["cifar10/test", 60, 60]},
    "linear/random_encoder/top_1_accuracy": 0.572,
    "linear/random_encoder/balanced_accuracy": 0.55,
    "linear/raw_pixels/top_1_accuracy": 0.493,
    "linear/starting_encoder/top_1_accuracy": 0.7,
}


def observed(images: int, train_examples: int = 50_000) -> Observations:
    """Colored blobs whose class is seen by its features, most of the time."""
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
        images=_opaque(_blobs(rng, labels, 48)),
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
            "median_cosine_of_h": 0.2,
        },
        names=tuple(f"{CLASSES[label]}/{i:04}.png" for i, label in enumerate(labels)),
        examples=images,
        view_names=tuple(f"training/{i}.png" for i in range(min(images, 8))),
        duplicates=_duplicates(rng),
    )


def sample_of(
    split: str, h: np.ndarray, names: tuple[str, ...] = (), folder: str = "/pictures"
) -> SplitSample:
    """A sample of images of which only the features are of interest; image i has label i."""
    count = len(h)
    source = Source(
        name=split,
        num_examples=count,
        class_names=(),
        records=tf.data.Dataset.range(count),
        read=lambda record: record["path"],
        light=True,
        folder=folder,
    )
    return SplitSample(
        source=source,
        names=names or tuple(f"{split} {i}" for i in range(count)),
        labels=np.arange(count),
        images=np.random.default_rng(count).integers(0, 255, [count, 4, 4, 3]).astype(np.uint8),
        h=h,
        predictions=np.full(count, -1),
        baselines={},
    )


def _duplicates(rng: np.random.Generator) -> tuple[Duplicates, ...]:
    """A file that is in the training images too, by another name; within the splits nothing."""
    pair = DuplicatePair(("class A/0000.png", "training/copy.png"), ("", ""), (0, 0), 0.9987)
    picture = np.tile(_blobs(rng, np.zeros(1, int), 48), [2, 1, 1, 1])[np.newaxis]
    splits = ("cifar10/test", "cifar10/train")
    nothing = np.zeros([0, 2, 48, 48, 3], np.uint8)
    return (
        Duplicates(splits, ((60, 60), (2000, 50_000)), 1, 3, (pair,), picture),
        *(Duplicates((split,), ((60, 60),), 0, 0, (), nothing) for split in splits),
    )


def _opaque(images: np.ndarray) -> np.ndarray:
    return np.pad(images, [(0, 0), (0, 0), (0, 0), (0, 1)], constant_values=255)


def _blobs(rng: np.random.Generator, labels: np.ndarray, size: int) -> np.ndarray:
    """Photograph-like: smooth, colored, a little noisy; uint8 [N, size, size, 3]."""
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
        "performance/gpu_memory_mb": lambda t: 700.0,
        "performance/gpu_memory_peak_mb": lambda t: 1500.0 + 10 * t,
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
