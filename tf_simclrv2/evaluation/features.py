"""Features: a network's endpoints for every image of a stream of batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import tensorflow as tf

from tf_simclrv2.models.simclr import SimCLR

Features = dict[str, np.ndarray]
RAW_PIXELS = "raw_pixels"


class FeatureExtractor:
    """Extracts a network's endpoints in inference mode.

    The graph is traced once: keep an extractor to use it several times.

    Args:
        network: A built network.
        endpoints: Names of two-dimensional endpoints; `raw_pixels` is the flattened image.

    Example:
        >>> extract = FeatureExtractor(network, ["final_avg_pool"])
        >>> features, labels = extract(batches)
        >>> features["final_avg_pool"].shape
        (1797, 512)
    """

    def __init__(self, network: SimCLR, endpoints: Sequence[str]) -> None:
        self.endpoints = tuple(endpoints)
        self._run = _outputs(network, self.endpoints)

    def __call__(self, batches: Iterable[dict[str, tf.Tensor]]) -> tuple[Features, np.ndarray]:
        """Extracts the features of all images of some batches.

        Args:
            batches: Dicts of `image` float [N, H, W, 3], `label` int [N] and `mask` bool [N], at least one.
                Rows whose mask is False are left out.

        Returns:
            A float32 array [examples, width] for each endpoint, and int64 labels [examples].
        """
        rows: list[tuple[list[np.ndarray], np.ndarray]] = []
        for batch in batches:
            mask = batch["mask"].numpy()
            features = [feature.numpy()[mask] for feature in self._run(batch["image"])]
            rows.append((features, batch["label"].numpy()[mask]))
        columns = [np.concatenate(parts) for parts in zip(*(features for features, _ in rows), strict=True)]
        labels = np.concatenate([label for _, label in rows])
        return dict(zip(self.endpoints, columns, strict=True)), labels


def extract_features(
    network: SimCLR, batches: Iterable[dict[str, tf.Tensor]], endpoints: Sequence[str]
) -> tuple[Features, np.ndarray]:
    """Extracts the features of one pass over batches.

    Args:
        network: A built network.
        batches: See `FeatureExtractor.__call__`.
        endpoints: See `FeatureExtractor`.

    Returns:
        A float32 array [examples, width] for each endpoint, and int64 labels [examples].
    """
    return FeatureExtractor(network, endpoints)(batches)


def _outputs(network: SimCLR, endpoints: tuple[str, ...]) -> Callable[[tf.Tensor], list[tf.Tensor]]:
    @tf.function(autograph=False)
    def run(images: tf.Tensor) -> list[tf.Tensor]:
        found: dict[str, tf.Tensor] = {}
        if any(name != RAW_PIXELS for name in endpoints):
            found = network(images, training=False)
        found[RAW_PIXELS] = tf.reshape(images, [tf.shape(images)[0], -1])
        return [tf.cast(found[name], tf.float32) for name in endpoints]

    return run
