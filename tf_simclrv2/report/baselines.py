"""What accuracies are to be compared with: the same probes on other encoders' features and on pixels."""

from __future__ import annotations

import dataclasses
from typing import Any

from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.evaluation.frozen_protocols import Split, score_features
from tf_simclrv2.evaluation.split_features import labeled_rows
from tf_simclrv2.report.split_sample import SplitSample


def baseline_accuracies(
    train: SplitSample, test: SplitSample, config: ExperimentConfig, protocols: tuple[str, ...]
) -> dict[str, Any]:
    """Applies probes to the baselines' features and to small pixels.

    Args:
        train: Images to fit classifiers to, and to find neighbors among.
        test: Images to test on, seen with the same baselines.
        config: See `score_features`.
        protocols: `linear`, `knn` or both.

    Returns:
        `<protocol>/<baseline>/top_1_accuracy` and `…/balanced_accuracy`, as in `FrozenResult`; `raw_pixels`
        are of images scaled down to 16 pixels. Empty if no image has a label.
    """
    evaluation = dataclasses.replace(config.evaluation, protocols=protocols)
    fitted, tested = _features(train), _features(test)
    if not (len(fitted.labels) and len(tested.labels)):
        return {}
    return score_features(fitted, tested, dataclasses.replace(config, evaluation=evaluation)).scores


def _features(sample: SplitSample) -> Split:
    return Split(*labeled_rows(sample.baselines, sample.labels))
