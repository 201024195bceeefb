"""Which classifiers a run was evaluated with, how good they are, and what to compare them with."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np

from tf_simclrv2.report.run_record import RunRecord

_FEW = re.compile(r"linear_(\d+)_per_class/final_avg_pool/top_1_accuracy")
_OWN = "eval"


@dataclasses.dataclass(frozen=True)
class Baseline:
    """What an accuracy is compared with.

    Attributes:
        name: Of what was measured instead.
        top_1: Its top-1 accuracy.
        balanced: Its balanced accuracy; None if it is not known.
        sample: Of how many training images it was measured on a sample; empty if it saw all of them.
    """

    name: str
    top_1: float
    balanced: float | None = None
    sample: str = ""


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A classifier and its accuracy on the evaluation images.

    Attributes:
        key: Prefix of its results.
        label: Its name.
        note: What it is.
        top_1: The share of images that it classifies correctly.
        balanced: The mean of its accuracies of the classes; None if it is not known.
        by_class: The accuracy of each class that occurs; {} if it is not known.
        baselines: What to compare it with.
    """

    key: str
    label: str
    note: str
    top_1: float
    balanced: float | None
    by_class: dict[str, float]
    baselines: tuple[Baseline, ...]


def classifiers_of(record: RunRecord) -> list[Classifier]:
    """Returns the classifiers that the last evaluation of a run measured, the best one first."""
    kinds = {
        _OWN: ("top-1", "the network's classifier", "linear"),
        "linear/final_avg_pool": ("linear probe", "top-1, all labels, of h", "linear"),
        **{
            f"linear_{few}_per_class/final_avg_pool": (
                f"linear probe, {few} labels per class",
                "top-1, of h",
                f"linear_{few}_per_class",
            )
            for few in map(int, _FEW.findall("\n".join(record.result)))
        },
        "knn_20/final_avg_pool": ("20 neighbors", "top-1, of h", "knn_20"),
    }
    found = []
    for key, (label, note, probe) in kinds.items():
        top_1 = record.result.get(f"{key}/{'label_' if key == _OWN else ''}top_1_accuracy")
        if top_1 is not None:
            by_class = record.result.get(f"{key}/accuracy_per_class", {})
            balanced = record.result.get(f"{key}/balanced_accuracy")
            baselines = _baselines(record, probe, own=key == _OWN)
            found.append(Classifier(key, label, note, top_1, balanced, by_class, baselines))
    return sorted(found, key=lambda classifier: -classifier.top_1)


def commonest_classes(record: RunRecord, most: int) -> float | None:
    """Returns the share of the evaluation images that are of the `most` commonest classes."""
    counts = sorted(record.result.get("eval/images_per_class", {}).values(), reverse=True)
    if not counts and record.observations is not None:
        # An evaluation by an earlier version: the images of the report stand for all.
        known = record.observations.labels[record.observations.labels >= 0]
        counts = sorted(np.bincount(known).tolist(), reverse=True)
    return sum(counts[:most]) / sum(counts) if counts else None


def _baselines(record: RunRecord, probe: str, own: bool) -> tuple[Baseline, ...]:
    encoders = {"random_encoder": "random weights", "raw_pixels": "raw pixels"}
    pretraining = record.config is None or record.config.training.train_mode == "pretrain"
    if own and not pretraining:
        encoders = {"starting_encoder": "linear probe before fine-tuning", **encoders}
    found = [_measured(record, f"{probe}/{encoder}", name) for encoder, name in encoders.items()]
    share = commonest_classes(record, 1)
    if share is not None:
        classes = len(record.result.get("eval/images_per_class", {}))
        found.append(Baseline("commonest class", share, 1 / classes if classes else None))
    return tuple(baseline for baseline in found if baseline is not None)


def _measured(record: RunRecord, key: str, name: str) -> Baseline | None:
    """What the evaluation measured, or else what was measured for the report."""
    tags = f"{key}/top_1_accuracy", f"{key}/balanced_accuracy"
    if tags[0] in record.result:
        return Baseline(name, record.result[tags[0]], record.result.get(tags[1]))
    if tags[0] not in record.baselines:
        return None
    return Baseline(name, record.baselines[tags[0]], record.baselines.get(tags[1]), _sample(record.baselines))


def _sample(baselines: dict[str, Any]) -> str:
    _, some, all_ = baselines.get("measured_on", {}).get("train", ("", 0, 0))
    return f"{some:,} of {all_:,} training images" if some < all_ else ""
