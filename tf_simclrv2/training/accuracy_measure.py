"""The accuracy by which a run chooses its best checkpoint, on images of which it trains on none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tf_simclrv2.data import Source
from tf_simclrv2.distribution.worker_exchange import WorkerExchange
from tf_simclrv2.errors import DataError
from tf_simclrv2.evaluation.features import FeatureExtractor
from tf_simclrv2.evaluation.linear_probe import linear_predictions
from tf_simclrv2.evaluation.nearest_neighbors import NEIGHBORS, knn_votes
from tf_simclrv2.evaluation.split_features import labeled_rows, split_features
from tf_simclrv2.progress import Say, phase
from tf_simclrv2.training.preparation import PreparedRun

# By measure: what of the network it looks at.
ENDPOINTS = {"knn": "final_avg_pool", "linear": "final_avg_pool", "online": "logits_sup"}


class AccuracyMeasure:
    """Measures a run's network at its present step; the graph is traced once, at the first measurement.

    It measures what an evaluation by the same protocol would, on as many images. All workers measure
    together, and all get the chief's number.

    Args:
        prepared: The run, which chooses its best checkpoint; its network is only looked at.
        exchange: Tells the other workers what the chief has found.
        say: Where progress goes.
        stop_if_asked: Called with each batch; raises if the run is to stop.

    Example:
        >>> AccuracyMeasure(prepared, exchange, print)()
        0.9123
    """

    def __init__(
        self,
        prepared: PreparedRun,
        exchange: WorkerExchange,
        say: Say,
        stop_if_asked: Callable[[Any], None] = lambda _: None,
    ) -> None:
        plan = prepared.plan
        assert plan.validation_source is not None
        self.metric = plan.config.run.keep_best
        self._endpoint = ENDPOINTS[self.metric]
        self._validation = plan.validation_source
        self._train = plan.fitted_source.sample(plan.config.evaluation.validation_images)
        self._config = plan.config
        self._prepared = prepared
        self._exchange = exchange
        self._say = say
        self._stop_if_asked = stop_if_asked
        self._extract: FeatureExtractor | None = None

    def __call__(self) -> float:
        """Returns the top-1 accuracy, the same on all workers.

        Raises:
            DataError: None of the images that can be read has a label.
        """
        fitted = self._rows(self._train) if self._endpoint != ENDPOINTS["online"] else None
        features, labels = self._rows(self._validation)
        right, images = 0, 0
        if self._prepared.chief:
            right, images = int(np.sum(self._predict(fitted, features) == labels)), len(labels)
        # The others have no rows.
        return self._exchange.sum(right) / self._exchange.sum(images)

    def _predict(self, fitted: tuple[np.ndarray, np.ndarray] | None, features: np.ndarray) -> np.ndarray:
        if fitted is None:
            return np.argmax(features, axis=1)
        if self.metric == "knn":
            with phase("nearest neighbors", self._say):
                return knn_votes(*fitted, features, NEIGHBORS[0])
        if len(np.unique(fitted[1])) == 1:
            return np.full(len(features), fitted[1][0])
        return linear_predictions(*fitted, features, self._config.training.seed, self._say)

    def _rows(self, source: Source) -> tuple[np.ndarray, np.ndarray]:
        """Returns features or logits, and labels, of the images that have one; empty but for the chief."""
        if self._extract is None:
            compile = self._config.training.compile
            network, strategy = self._prepared.task.network, self._prepared.strategy
            self._extract = FeatureExtractor(network, (self._endpoint,), strategy, compile)
        found = split_features(self._extract, source, self._config, self._say, on_batch=self._stop_if_asked)
        if not self._prepared.chief:
            return np.empty([0]), np.empty([0])
        features, labels = labeled_rows(*found)
        if not len(labels):
            raise DataError(
                f"no image of {source.name} that can be read has a label, so keep_best cannot measure; "
                "choose another --validation_split, or raise --validation_images."
            )
        return features[self._endpoint], labels
