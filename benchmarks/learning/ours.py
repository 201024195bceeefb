"""This package as a contender of `learning_with_peers.py`: the task, its batches, and a loop of steps.

    python benchmarks/learning/ours.py FOLDER SEED OUTPUT [--views_of=TORCH_PYTHON]

With the option, which names a Python that has lightly, it learns from lightly's views.
"""

from __future__ import annotations

import functools
import os
import pathlib
import sys
from collections.abc import Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

import keras
import numpy as np
import tensorflow as tf

from benchmarks.learning.recording import read_views, run
from benchmarks.learning.settings import Settings
from tf_simclrv2 import (
    LARS,
    BatchOptions,
    DataConfig,
    ExperimentConfig,
    ModelConfig,
    ObjectiveConfig,
    Pretraining,
    TrainingConfig,
    WarmupCosine,
    load_source,
    pretraining_batches,
)
from tf_simclrv2.distribution.compilation import compiled

PEER = pathlib.Path(__file__).parent / "lightly_contender.py"


class Ours:
    """A pretraining task.

    Args:
        settings: What to train.
        folder: Holds `images/train/`, a folder of images.
        seed: Of weights and views.
        views_of: A Python in which lightly makes the views instead; empty (the default) for our own.
    """

    def __init__(self, settings: Settings, folder: pathlib.Path, seed: int, views_of: str = "") -> None:
        keras.utils.set_random_seed(seed)
        data = DataConfig(
            dataset="image_folder",
            data_dir=str(folder / "images"),
            cache_dataset=True,
            color_jitter_strength=settings.color_jitter_strength,
            use_blur=False,
        )
        config = ExperimentConfig(
            model=ModelConfig(
                resnet_depth=settings.depth,
                image_size=settings.image_size,
                num_proj_layers=settings.head_layers,
                proj_out_dim=settings.out_dim,
            ),
            data=data,
            objective=ObjectiveConfig(temperature=settings.temperature),
            training=TrainingConfig(
                train_batch_size=settings.batch_size,
                lineareval_while_pretraining=False,
                precision=settings.precision,
            ),
        )
        options = BatchOptions(image_size=settings.image_size, batch_size=settings.batch_size, seed=seed)
        self._batches = iter(pretraining_batches(load_source(data, "train"), data, options))
        if views_of:
            command = [views_of, str(PEER), str(folder), str(seed), "", "--zero_init_residual", "--views"]
            self._batches = _with_views(next(self._batches), read_views(command, settings))
        keras.mixed_precision.set_global_policy(settings.precision)
        self._task = Pretraining(config)
        total = settings.steps_per_epoch * settings.epochs
        rate = WarmupCosine(settings.learning_rate, total, settings.steps_per_epoch * settings.warmup_epochs)
        self._task.compile(LARS(rate, momentum=settings.momentum, weight_decay=settings.weight_decay))
        self._step = tf.function(compiled(self._task.train_step, self._task.compile_mode), autograph=False)
        self._features = tf.function(self._encode, autograph=False)

    def train(self, steps: int) -> None:
        """Goes on for some steps."""
        for _ in range(steps):
            loss = self._step(next(self._batches))["total_loss"]
        loss.numpy()

    def features(self, images: np.ndarray) -> np.ndarray:
        """The encoder's output."""
        return self._features(images).numpy()

    def _encode(self, images: tf.Tensor) -> tf.Tensor:
        pixels = tf.cast(images, tf.float32) / 255.0
        return tf.cast(self._task.network.resnet(pixels, training=False)["final_avg_pool"], tf.float32)


def _with_views(batch: dict[str, tf.Tensor], views: Iterator[np.ndarray]) -> Iterator[dict[str, tf.Tensor]]:
    """Batches like this one of other views; the loss reads nothing else."""
    for first, second in views:
        pixels = {"view_1": first, "view_2": second}
        yield {**batch, **{name: tf.cast(view, tf.float32) / 255.0 for name, view in pixels.items()}}


if __name__ == "__main__":
    option = "--views_of="
    peers = [word.removeprefix(option) for word in sys.argv if word.startswith(option)]
    run(functools.partial(Ours, views_of="".join(peers)))
