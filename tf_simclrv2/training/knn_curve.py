"""Nearest neighbours while a network is trained: whether its features get better, with nothing fitted."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_simclrv2.data import Source
from tf_simclrv2.evaluation.features import FeatureExtractor
from tf_simclrv2.evaluation.nearest_neighbors import NEIGHBORS, knn_accuracy
from tf_simclrv2.evaluation.split_features import labeled_rows, split_features
from tf_simclrv2.models.simclr import SimCLR
from tf_simclrv2.progress import Say
from tf_simclrv2.training.plan import RunPlan

ENDPOINT = "final_avg_pool"
K = NEIGHBORS[0]
TAG = f"knn_{K}/{ENDPOINT}/while_training"
# Of each split: enough for a curve, and a small part of an epoch.
IMAGES = 2000


class KnnCurve:
    """A point every `knn_epochs`: top-1 of some evaluation images by their nearest training images.

    Args:
        network: The network in training; it is only looked at.
        plan: The run.
        directory: Of the event files.
        active: Whether this worker measures and writes.
        say: Where it is told why there is no curve.
    """

    def __init__(self, network: SimCLR, plan: RunPlan, directory: str, active: bool, say: Say) -> None:
        self._config = plan.config
        images = plan.config.evaluation.knn_epochs * plan.train_source.num_examples
        self.interval = max(images // plan.config.training.train_batch_size, 1) if images else 0
        self._sources: list[Source] = []
        self._say = say
        if self.interval and active and plan.neighbours_are_known:
            assert plan.eval_source is not None
            self._sources = [source.sample(IMAGES) for source in (plan.train_source, plan.eval_source)]
            self._extract = FeatureExtractor(network, (ENDPOINT,))
            self._writer = tf.summary.create_file_writer(directory, filename_suffix=".knn")

    def extend(self, step: int) -> None:
        """Adds a point if the step is one of the curve's."""
        if self._sources and step % self.interval == 0:
            train, test = (self._features(source) for source in self._sources)
            for source, (_, labels) in zip(self._sources, (train, test), strict=True):
                if not len(labels):
                    self._say(
                        f"nearest neighbours while training are off: no image of {source.name} has a label"
                    )
                    self._sources = []
                    return
            with self._writer.as_default():
                tf.summary.scalar(TAG, knn_accuracy(*train, *test, k=K), step=step)
            self._writer.flush()

    def _features(self, source: Source) -> tuple[np.ndarray, np.ndarray]:
        features, labels = labeled_rows(*split_features(self._extract, source, self._config))
        return features[ENDPOINT], labels
