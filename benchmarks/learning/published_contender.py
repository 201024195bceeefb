"""The published program as a contender of `learning_with_peers.py`.

    python benchmarks/learning/published_contender.py FOLDER SEED OUTPUT TF2

TF2 is that folder of a checkout of google-research/simclr. Its data_util.py makes the views; the stream
around it is as in its data.py, but over images in memory instead of TFDS's records.
"""

from __future__ import annotations

import inspect
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from benchmarks.contenders.published_program import define_flags, pretraining  # Before TensorFlow.

# isort: split
import numpy as np
import tensorflow as tf

from benchmarks.learning.recording import run
from benchmarks.learning.settings import Settings

CLASSES = 10  # Of its classifier, which is not trained here.


class Published:
    """Its network, optimizer and step.

    Args:
        settings: What to train; always in float32.
        folder: Holds `images.npz`.
        seed: Of weights.
    """

    def __init__(self, settings: Settings, folder: pathlib.Path, seed: int) -> None:
        self._settings = settings
        sys.path.insert(0, sys.argv[4])
        # Its `linear` scaling multiplies by the batch over 256.
        define_flags(
            learning_rate=settings.learning_rate * 256 / settings.batch_size,
            warmup_epochs=float(settings.warmup_epochs),
            weight_decay=settings.weight_decay,
            train_batch_size=settings.batch_size,
            train_epochs=settings.epochs,
            lineareval_while_pretraining=False,
            momentum=settings.momentum,
            temperature=settings.temperature,
            proj_out_dim=settings.out_dim,
            num_proj_layers=settings.head_layers,
            resnet_depth=settings.depth,
            image_size=settings.image_size,
            color_jitter_strength=settings.color_jitter_strength,
            use_blur=False,
        )
        tf.keras.utils.set_random_seed(seed)
        strategy = tf.distribute.MirroredStrategy(tf.config.list_logical_devices("GPU") or ["CPU:0"])
        with np.load(folder / "images.npz") as file:
            images = np.repeat(file["train_images"][..., None], 3, axis=-1)
        self._network, self._step = pretraining(strategy, CLASSES, len(images))
        with strategy.scope():  # Features are asked for before the first step, which else would build it.
            self._network(tf.zeros([2, settings.image_size, settings.image_size, 3]), training=False)
        self._features = tf.function(self._encode)
        # As in its run.py, which sets no seed: under one, operations in the branches of both views would draw
        # the same numbers, so that both would have the same color jitter.
        tf.random.set_seed(None)
        self._views = iter(self._stream(images))

    def train(self, steps: int) -> None:
        """Goes on for some steps."""
        labels = tf.one_hot(tf.zeros([self._settings.batch_size], tf.int32), CLASSES)
        for _ in range(steps):
            loss = self._step(next(self._views), labels)
        loss.numpy()

    def features(self, images: np.ndarray) -> np.ndarray:
        """The encoder's output."""
        return self._features(images).numpy()

    def _encode(self, images: tf.Tensor) -> tf.Tensor:
        return self._network.resnet_model(tf.cast(images, tf.float32) / 255.0, training=False)

    def _stream(self, images: np.ndarray) -> tf.data.Dataset:
        import data_util  # pyright: ignore[reportMissingImports] # in the checkout

        side, strength = self._settings.image_size, self._settings.color_jitter_strength
        # Some versions read the flag instead.
        has_strength = "color_jitter_strength" in inspect.signature(data_util.preprocess_image).parameters
        given = {"color_jitter_strength": strength} if has_strength else {}

        def two_views(image: tf.Tensor) -> tf.Tensor:
            views = [
                data_util.preprocess_image(image, height=side, width=side, is_training=True, **given)
                for _ in range(2)
            ]
            return tf.concat(views, -1)

        stream = tf.data.Dataset.from_tensor_slices(images).shuffle(len(images)).repeat()
        stream = stream.map(two_views, num_parallel_calls=tf.data.AUTOTUNE)
        return stream.batch(self._settings.batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


if __name__ == "__main__":
    run(Published)
