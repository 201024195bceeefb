"""What the stages of a job have reached, and which of them is taken."""

from __future__ import annotations

import os

from tf_simclrv2.auto.schedule import PREFERRED
from tf_simclrv2.files import read_json
from tf_simclrv2.report.run_record import RESULT_FILE

_TOP_1 = "eval/label_top_1_accuracy"


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
