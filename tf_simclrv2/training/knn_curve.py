"""Nearest neighbors during training: whether the features improve, without fitting anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tf_simclrv2.data import Source
from tf_simclrv2.evaluation.features import FeatureExtractor
from tf_simclrv2.evaluation.nearest_neighbors import NEIGHBORS, knn_accuracy
from tf_simclrv2.evaluation.split_features import labeled_rows, split_features
from tf_simclrv2.progress import Say, phase
from tf_simclrv2.training.preparation import PreparedRun

ENDPOINT = "final_avg_pool"
K = NEIGHBORS[0]
TAG = f"knn_{K}/{ENDPOINT}/while_training"
# Of each split: enough for a curve, and a small part of an epoch.
IMAGES = 2000


class KnnCurve:
    """Adds a point every `knn_epochs` epochs: top-1 accuracy of the nearest training images' labels.

    Args:
        prepared: The run; its network is only looked at.
        say: Where the reason goes if there cannot be a curve.
        stop_if_asked: Called with each batch; raises if the run is to stop, which leaves the point out.
    """

    def __init__(
        self,
        prepared: PreparedRun,
        say: Say,
        stop_if_asked: Callable[[Any], None] = lambda _: None,
    ) -> None:
        plan = prepared.plan
        self._task = prepared.task
        self._config = plan.config
        images = plan.config.evaluation.knn_epochs * plan.train_source.num_examples
        self.interval = max(images // plan.config.training.train_batch_size, 1) if images else 0
        self._sources: list[Source] = []
        self._say = say
        self._stop_if_asked = stop_if_asked
        if self.interval and prepared.chief and plan.neighbors_are_known:
            assert plan.eval_source is not None
            self._sources = [source.sample(IMAGES) for source in (plan.fitted_source, plan.eval_source)]
            self._extract = FeatureExtractor(
                prepared.task.network, (ENDPOINT,), prepared.chiefs_strategy, plan.config.training.compile
            )

    def __call__(self, output: dict[str, Any]) -> None:
        """Adds a point to the loop's output if the step is one of the curve's, as an Orbit train action."""
        step = int(self._task.global_step.numpy())
        if self._sources and step % self.interval == 0:
            train, test = (self._features(source) for source in self._sources)
            for source, (_, labels) in zip(self._sources, (train, test), strict=True):
                if not len(labels):
                    self._say(
                        f"nearest neighbors during training are off: no image of {source.name} has a label"
                    )
                    self._sources = []
                    return
            with phase("nearest neighbors", self._say):
                output[TAG] = knn_accuracy(*train, *test, k=K)

    def _features(self, source: Source) -> tuple[np.ndarray, np.ndarray]:
        found = split_features(self._extract, source, self._config, self._say, on_batch=self._stop_if_asked)
        features, labels = labeled_rows(*found)
        return features[ENDPOINT], labels
