"""Evaluation protocols: the online classifier and linear probes of frozen features."""

from tf_simclrv2.evaluation.classification import ClassificationEvaluator
from tf_simclrv2.evaluation.features import extract_features
from tf_simclrv2.evaluation.linear_probe import labels_per_class_subset, linear_probe

__all__ = ["ClassificationEvaluator", "extract_features", "labels_per_class_subset", "linear_probe"]
