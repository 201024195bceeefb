"""Evaluation protocols: the online classifier; linear probes and nearest neighbors on frozen features."""

from tf_simclrv2.evaluation.classification import ClassificationEvaluator
from tf_simclrv2.evaluation.features import FeatureExtractor
from tf_simclrv2.evaluation.frozen_protocols import run_frozen_protocols
from tf_simclrv2.evaluation.linear_probe import linear_probe
from tf_simclrv2.evaluation.nearest_neighbors import knn_accuracy, knn_votes
from tf_simclrv2.evaluation.split_features import split_features

__all__ = [
    "ClassificationEvaluator",
    "FeatureExtractor",
    "knn_accuracy",
    "knn_votes",
    "linear_probe",
    "run_frozen_protocols",
    "split_features",
]
