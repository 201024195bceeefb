"""Evaluation protocols: the online classifier; linear probes and nearest neighbours on frozen features."""

from tf_simclrv2.evaluation.classification import ClassificationEvaluator
from tf_simclrv2.evaluation.features import extract_features
from tf_simclrv2.evaluation.frozen_protocols import run_frozen_protocols
from tf_simclrv2.evaluation.linear_probe import linear_probe
from tf_simclrv2.evaluation.nearest_neighbours import knn_accuracy, knn_votes

__all__ = [
    "ClassificationEvaluator",
    "extract_features",
    "knn_accuracy",
    "knn_votes",
    "linear_probe",
    "run_frozen_protocols",
]
