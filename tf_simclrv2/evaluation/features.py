"""Features: a network's endpoints for every image of a stream of batches, computed on all replicas."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import tensorflow as tf

from tf_simclrv2.distribution.collectives import cross_replica_concat
from tf_simclrv2.distribution.compilation import compile_mode, compiled
from tf_simclrv2.distribution.strategy import is_chief
from tf_simclrv2.evaluation.feature_rows import FeatureRows
from tf_simclrv2.models.simclr import SimCLR

Batch = dict[str, tf.Tensor]
Features = dict[str, np.ndarray]
RAW_PIXELS = "raw_pixels"
_HALVES = (tf.bfloat16, tf.float16)


class FeatureExtractor:
    """Extracts a network's endpoints in inference mode.

    The graph is traced once: keep an extractor to use it several times.

    Args:
        network: A built network, made in the strategy's scope.
        endpoints: Names of two-dimensional endpoints; `raw_pixels` is the flattened image.
        strategy: Computes each batch on all of its replicas; by default the device at hand does. All workers
            of a cluster must extract together, and the chief alone gets the rows.
        compile: What of each replica's forward pass XLA compiles, as `TrainingConfig.compile` says; nothing
            by default.

    Example:
        >>> extract = FeatureExtractor(network, ["final_avg_pool"])
        >>> features, labels = extract(batches, most=1797)
        >>> features["final_avg_pool"].shape
        (1797, 512)
    """

    def __init__(
        self,
        network: SimCLR,
        endpoints: Sequence[str],
        strategy: tf.distribute.Strategy | None = None,
        compile: str = "none",
    ) -> None:
        self.endpoints = tuple(endpoints)
        self.strategy = strategy or tf.distribute.get_strategy()
        self._run = self._traced(network, compile)

    def __call__(self, batches: Iterable[Batch], most: int) -> tuple[Features, np.ndarray]:
        """Extracts the features of all images of some batches.

        Args:
            batches: Dicts of `image` float [N, H, W, 3], `label` int [N] and `mask` bool [N], at least one;
                distributed if there is a strategy. Rows whose mask is False are left out.
            most: The largest number of images that there may be, for which memory is set aside.

        Returns:
            An array [examples, width] for each endpoint, and int64 labels [examples]. Half precision stays
            as it is (bfloat16 as a dtype of `ml_dtypes`), to save memory; everything else is float32.

        Raises:
            RunError: Neither memory nor the disk for temporary files has room for so many.
        """
        chief = is_chief(self.strategy)
        rows = {name: FeatureRows(most if chief else 0) for name in (*self.endpoints, "label")}
        for batch in batches:
            features, label, mask = self.of_batch(batch)
            if chief:
                for name, values in (*features.items(), ("label", label)):
                    rows[name].append(values[mask])
        labels = rows.pop("label").filled.astype(np.int64, copy=False)
        return {name: kept.filled for name, kept in rows.items()}, labels

    def of_batch(self, batch: Batch) -> tuple[Features, np.ndarray, np.ndarray]:
        """Extracts the features of one batch, all rows of it.

        Args:
            batch: As for a call.

        Returns:
            An array [N, width] for each endpoint, in the dtype that a call gives it; int64 labels [N]; and
            the mask, bool [N].
        """
        *features, label, mask = (values.numpy() for values in self._run(batch))
        return dict(zip(self.endpoints, features, strict=True)), label, mask > 0

    def _traced(self, network: SimCLR, compile: str) -> Callable[[Batch], list[tf.Tensor]]:
        with self.strategy.scope():
            mode = compile_mode(compile, exchanges=False)
        forward = compiled(lambda images: _outputs(network, images, self.endpoints), mode)

        def replica_step(batch: Batch) -> list[tf.Tensor]:
            mask = tf.cast(batch["mask"], tf.int32)
            return [cross_replica_concat(x) for x in (*forward(batch["image"]), batch["label"], mask)]

        @tf.function(autograph=False)
        def run(batch: Batch) -> list[tf.Tensor]:
            # Every replica has the rows of all.
            found = self.strategy.run(replica_step, args=(batch,))
            return [self.strategy.experimental_local_results(x)[0] for x in found]

        return run


def _outputs(network: SimCLR, images: tf.Tensor, endpoints: tuple[str, ...]) -> list[tf.Tensor]:
    found: dict[str, tf.Tensor] = {}
    if any(name != RAW_PIXELS for name in endpoints):
        found = network(images, training=False)
    found[RAW_PIXELS] = tf.reshape(images, [tf.shape(images)[0], -1])
    return [x if x.dtype in _HALVES else tf.cast(x, tf.float32) for x in map(found.__getitem__, endpoints)]
