"""What the stages of a job have reached, and which of them is taken."""

from __future__ import annotations

import os

from tf_simclrv2.auto.schedule import PREFERRED
from tf_simclrv2.files import read_json
from tf_simclrv2.report.run_record import RESULT_FILE

_TOP_1 = "eval/label_top_1_accuracy"
_PROBES = {
    "linear classifier": "linear/final_avg_pool/top_1_accuracy",
    "nearest neighbors": "knn_20/final_avg_pool/top_1_accuracy",
}


def accuracy(output: str, stage: str) -> float | None:
    """Returns the top-1 accuracy that a stage has measured; None if it has measured none."""
    path = os.path.join(output, stage, RESULT_FILE)
    return read_json(path).get(_TOP_1) if os.path.exists(path) else None


def best_layer(accuracies: dict[int, float | None]) -> int:
    """Returns the most accurate layer; of equal ones the head's first layer, as in the paper, or h.

    Args:
        accuracies: By layer; None for one that could not be measured.
    """
    known = [layer for layer in PREFERRED if accuracies.get(layer) is not None]
    return max(known, key=lambda layer: accuracies[layer] or 0.0, default=PREFERRED[0])


def probe_accuracies(output: str, stage: str) -> dict[str, float]:
    """Returns the top-1 accuracies of classifiers of a stage's frozen features, by their names.

    Args:
        output: The folder of the job.
        stage: Pretraining; it has none if it was cut short, or there were no labels.
    """
    path = os.path.join(output, stage, RESULT_FILE)
    result = read_json(path) if os.path.exists(path) else {}
    return {name: result[key] for name, key in _PROBES.items() if key in result}


def percent(value: float | None) -> str:
    """Returns an accuracy in [0, 1] in words; a dash if there is none."""
    return "-" if value is None else f"{100 * value:.1f} %"
