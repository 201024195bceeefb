"""Selects the few numbers that summarize a run."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable

import numpy as np

from tf_simclrv2.report.event_files import Scalar
from tf_simclrv2.report.run_record import RunRecord


@dataclasses.dataclass(frozen=True)
class Headline:
    """A number to be read first.

    Attributes:
        label: The name of the number.
        value: The number as text.
        note: What it was measured on, or what to compare it with; empty by default.
    """

    label: str
    value: str
    note: str = ""


def headlines(record: RunRecord) -> list[Headline]:
    """Returns the headline numbers of a run, the most important first."""
    found = [
        *_results(record),
        _last(record, "train/contrast_acc", "contrastive accuracy", "{:.1%}", "training, last steps"),
        _last(record, "train/total_loss", "loss", "{:.3f}", "training, last steps"),
        *_of_h(record),
        *_speed(record),
    ]
    return [headline for headline in found if headline is not None]


def _results(record: RunRecord) -> list[Headline]:
    kinds = {
        "eval/label_top_1_accuracy": ("top-1", "the network's classifier"),
        "eval/label_top_5_accuracy": ("top-5", "the network's classifier"),
        "linear/final_avg_pool/top_1_accuracy": ("linear probe", "top-1, all labels, of h"),
        "knn_20/final_avg_pool/top_1_accuracy": ("20 neighbors", "top-1, of h"),
    }
    return [
        Headline(label, f"{record.result[tag]:.1%}", note)
        for tag, (label, note) in kinds.items()
        if tag in record.result
    ]


def _last(record: RunRecord, tag: str, label: str, form: str, note: str) -> Headline | None:
    scalar = record.training.get(tag)
    return Headline(label, form.format(scalar.values[-1]), note) if scalar is not None else None


def _of_h(record: RunRecord) -> list[Headline]:
    if record.observations is None:
        return []
    numbers = record.observations.numbers
    return [
        Headline(
            "effective rank", f"{numbers['effective_rank_of_h']:.1f}", f"of {numbers['width_of_h']:.0f}, of h"
        ),
        Headline("uniformity", f"{numbers['uniformity_of_h']:.2f}", "of h; 0 is a collapse"),
    ]


def _speed(record: RunRecord) -> list[Headline]:
    found = []
    for tag, label, form, reduce, note in _SPEED:
        scalar = record.training.get(tag)
        if scalar is not None:
            found.append(Headline(label, form.format(reduce(_warm(scalar).values)), note))
    loss = record.training.get("train/total_loss")
    if loss is not None and len(loss.times) > 1:
        seconds = round(loss.times[-1] - loss.times[0])
        found.append(Headline("time", str(datetime.timedelta(seconds=seconds)), "first to last event"))
    return found


_SPEED: tuple[tuple[str, str, str, Callable, str], ...] = (
    ("performance/examples_per_second", "throughput", "{:,.1f}", np.median, "examples per second, median"),
    ("performance/data_wait", "data wait", "{:.1%}", np.median, "of the time, median"),
    ("performance/memory_mb", "memory", "{:,.0f} MB", np.max, "of the process, peak"),
)


def _warm(scalar: Scalar) -> Scalar:
    """Removes the first point, which includes tracing the graph, if there are others."""
    skip = 1 if len(scalar.steps) > 1 else 0
    return Scalar(scalar.steps[skip:], scalar.values[skip:], scalar.times[skip:])
