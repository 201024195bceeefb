"""Selects the few numbers that summarize a run."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Sequence

import numpy as np

from tf_simclrv2.report.classifiers import Baseline, Classifier, classifiers_of, commonest_classes
from tf_simclrv2.report.event_files import Scalar
from tf_simclrv2.report.run_record import RunRecord

# The objective of each stage, without what other terms add to the sum.
_LOSSES = {
    "train/contrast_loss": "contrastive loss",
    "train/distillation_loss": "distillation loss",
    "train/supervised_loss": "classifier loss",
    "train/total_loss": "loss",
}


@dataclasses.dataclass(frozen=True)
class Headline:
    """A number to be read first.

    Attributes:
        label: The name of the number.
        value: The number as text.
        note: What it was measured on, or what to compare it with; empty by default.
        beside: Numbers of baselines to compare it with; empty by default.
    """

    label: str
    value: str
    note: str = ""
    beside: str = ""


def headlines(record: RunRecord) -> list[Headline]:
    """Returns the headline numbers of a run, the most important first: its best classifier."""
    found = [
        *_accuracies(record),
        *_choice(record),
        _last(record, "train/contrast_acc", "contrastive accuracy", "{:.1%}"),
        _loss(record),
        *_of_h(record),
        *_speed(record),
    ]
    return [headline for headline in found if headline is not None]


def baseline_names(classifiers: Sequence[Classifier]) -> list[str]:
    """Returns the names of all baselines, those of the most classifiers' order first."""
    return list(dict.fromkeys(baseline.name for c in classifiers for baseline in c.baselines))


def beside(baselines: Sequence[Baseline]) -> str:
    """Returns baselines as text, for example `random weights 57.2, commonest class 35.5`."""
    samples = {baseline.sample for baseline in baselines if baseline.sample}
    text = ", ".join(f"{baseline.name} {100 * baseline.top_1:.1f}" for baseline in baselines)
    return f"{text} (probes of {' and '.join(samples)})" if samples else text


def _accuracies(record: RunRecord) -> list[Headline]:
    found = []
    for classifier in classifiers_of(record):
        note = classifier.note
        if classifier.balanced is not None:
            note = f"{note}; balanced {classifier.balanced:.1%}"
        found.append(
            Headline(classifier.label, f"{classifier.top_1:.1%}", note, beside(classifier.baselines))
        )
    top_5, share = record.result.get("eval/label_top_5_accuracy"), commonest_classes(record, 5)
    if top_5 is not None and share != 1:  # Of five classes, every answer would be right.
        text = f"five commonest classes {100 * share:.1f}" if share is not None else ""
        found.append(Headline("top-5", f"{top_5:.1%}", "the network's classifier", text))
    return found


def _choice(record: RunRecord) -> list[Headline]:
    """The best checkpoint, and whether training was stopped because no better one came."""
    found, best, stopped = [], record.best, record.stopped_early
    if best:
        note = f"step {best['step']:,}, by {best['metric']} on {best['images']:,} images of {best['split']}"
        found.append(Headline("best checkpoint", f"{best['value']:.1%}", note))
    if stopped:
        note = f"after {stopped['patience']:,} measurement(s) without a better checkpoint"
        found.append(Headline("stopped early", f"step {stopped['step']:,}", note))
    return found


def _loss(record: RunRecord) -> Headline | None:
    tags = (tag for tag in _LOSSES if tag in record.training)
    tag = next(tags, None)
    return _last(record, tag, _LOSSES[tag], "{:.3f}") if tag else None


def _last(record: RunRecord, tag: str, label: str, form: str) -> Headline | None:
    scalar = record.training.get(tag)
    return (
        Headline(label, form.format(scalar.values[-1]), "training, last steps")
        if scalar is not None
        else None
    )


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
    ("performance/gpu_memory_peak_mb", "GPU memory", "{:,.0f} MB", np.max, "of the tensors, peak"),
)


def _warm(scalar: Scalar) -> Scalar:
    """Removes the first point, which includes tracing the graph, if there are others."""
    skip = 1 if len(scalar.steps) > 1 else 0
    return Scalar(scalar.steps[skip:], scalar.values[skip:], scalar.times[skip:])
