"""Features of a whole split, extracted once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import tensorflow as tf

from tf_simclrv2.models.simclr import SimCLR

Features = dict[str, np.ndarray]
RAW_PIXELS = "raw_pixels"


def extract_features(
    network: SimCLR, batches: Iterable[dict[str, tf.Tensor]], endpoints: Sequence[str]
) -> tuple[Features, np.ndarray]:
    """Runs a network in inference mode over batches of evaluation.

    Args:
        network: A built network.
        batches: Dicts of `image`, `label` and `mask`; masked rows are left out.
        endpoints: Names of two-dimensional endpoints; `raw_pixels` is the flattened image.

    Returns:
        A float32 array [examples, width] by endpoint, and int64 labels [examples].
    """
    run = _extractor(network, tuple(endpoints))
    rows: list[tuple[list[np.ndarray], np.ndarray]] = []
    for batch in batches:
        mask = batch["mask"].numpy()
        features = [feature.numpy()[mask] for feature in run(batch["image"])]
        rows.append((features, batch["label"].numpy()[mask]))
    columns = [np.concatenate(parts) for parts in zip(*(features for features, _ in rows), strict=True)]
    labels = np.concatenate([label for _, label in rows])
    return dict(zip(endpoints, columns, strict=True)), labels


def _extractor(network: SimCLR, endpoints: tuple[str, ...]) -> Callable[[tf.Tensor], list[tf.Tensor]]:
    @tf.function
    def run(images: tf.Tensor) -> list[tf.Tensor]:
        found: dict[str, tf.Tensor] = {}
        if any(name != RAW_PIXELS for name in endpoints):
            found = network(images, training=False)
        found[RAW_PIXELS] = tf.reshape(images, [tf.shape(images)[0], -1])
        return [tf.cast(found[name], tf.float32) for name in endpoints]

    return run
