"""Selects the numbers of a run that are drawn, and their charts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tf_simclrv2.report.curves import Chart, Line
from tf_simclrv2.report.event_files import Scalar
from tf_simclrv2.report.run_record import RunRecord


@dataclasses.dataclass(frozen=True)
class Subject:
    """The subject of one chart.

    Attributes:
        title: The title of the chart.
        note: A sentence on how to read it.
        tags: Labels of the training's scalars, by tag.
        measured: Labels of the evaluations' scalars, by tag.
        share: Whether values are shown in percent.
        from_zero: Whether the vertical axis starts at 0.
    """

    title: str
    note: str
    tags: dict[str, str] = dataclasses.field(default_factory=dict)
    measured: dict[str, str] = dataclasses.field(default_factory=dict)
    share: bool = False
    from_zero: bool = False


LEARNING = (
    Subject(
        "Contrastive loss",
        "The objective of pretraining; at chance it is twice the logarithm of the number of candidates.",
        tags={"train/contrast_loss": "contrastive loss"},
    ),
    Subject(
        "Contrastive accuracy",
        "How often the other view of the same image is the most similar one in the batch.",
        tags={"train/contrast_acc": "of the batch"},
        share=True,
    ),
    Subject(
        "Distillation loss",
        "Cross entropy with the teacher's predictions.",
        tags={"train/distillation_loss": "distillation loss"},
    ),
    Subject(
        "Classifier loss",
        "Cross entropy with the labels, on augmented images.",
        tags={"train/supervised_loss": "classifier loss"},
    ),
    Subject(
        "Accuracy",
        "The classifier is measured on augmented training images, neighbors on evaluation images.",
        tags={
            "train/supervised_acc": "classifier, training",
            "knn_20/final_avg_pool/while_training": "20 neighbors",
            "validation/knn_top_1_accuracy": "20 neighbors, validation",
            "validation/linear_top_1_accuracy": "linear probe, validation",
            "validation/online_top_1_accuracy": "classifier, validation",
        },
        measured={
            "eval/label_top_1_accuracy": "classifier, evaluation",
            "knn_20/final_avg_pool/top_1_accuracy": "20 neighbors, evaluation",
            "linear/final_avg_pool/top_1_accuracy": "linear probe, evaluation",
        },
        share=True,
    ),
    Subject(
        "Agreement with the teacher",
        "How often student and teacher predict the same class.",
        tags={"train/teacher_agreement": "of the batch"},
        share=True,
    ),
    Subject("Learning rate", "At each step.", tags={"learning_rate": "learning rate"}, from_zero=True),
)

HEALTH = (
    Subject(
        "Alignment",
        "Mean squared distance of the two views of an image on the unit sphere; 0 is the same point.",
        tags={"train/alignment": "alignment"},
        from_zero=True,
    ),
    Subject(
        "Uniformity",
        "How evenly different images are spread; lower is better, 0 is a collapse to one point.",
        tags={"train/uniformity": "uniformity"},
    ),
    Subject(
        "Effective rank",
        "Dimensions that the projections z use; a fall towards 1 is a collapse.",
        tags={"train/effective_rank": "effective rank"},
        from_zero=True,
    ),
)

SPEED = (
    Subject(
        "Throughput",
        "Examples per second; the first point includes tracing the graph.",
        tags={"performance/examples_per_second": "examples per second"},
        from_zero=True,
    ),
    Subject(
        "Data wait",
        "Share of the time spent waiting for a batch; if it is far above 0, the input pipeline is too slow.",
        tags={"performance/data_wait": "data wait"},
        share=True,
        from_zero=True,
    ),
    Subject(
        "Memory",
        "Resident memory of the process on the host, in megabytes.",
        tags={"performance/memory_mb": "resident memory"},
        from_zero=True,
    ),
    Subject(
        "GPU memory",
        "Memory of the tensors on the GPU that uses the most, in megabytes; steps need the peak.",
        tags={"performance/gpu_memory_mb": "between steps", "performance/gpu_memory_peak_mb": "peak"},
        from_zero=True,
    ),
)


def charts_of(record: RunRecord, subjects: Sequence[Subject]) -> list[Chart]:
    """Returns the charts of one run, with a line for each number; subjects without numbers are omitted."""
    found = []
    for subject in subjects:
        lines = tuple(
            Line(label, scalar, color, sparse)
            for color, (tag, label, sparse) in enumerate(_numbers(subject))
            if (scalar := _scalar(record, tag, sparse)) is not None
        )
        if lines:
            found.append(_chart(subject, subject.title, lines, named=len(lines) > 1))
    return found


def comparison_charts(records: dict[str, RunRecord], subjects: Sequence[Subject]) -> list[Chart]:
    """Returns a chart for each number, with a line for each run that has it.

    Args:
        records: Runs by the names to show.
        subjects: The subjects to show.
    """
    found = []
    for subject in subjects:
        numbers = _numbers(subject)
        for tag, label, sparse in numbers:
            lines = tuple(
                Line(name, scalar, color, sparse)
                for color, (name, record) in enumerate(records.items())
                if (scalar := _scalar(record, tag, sparse)) is not None
            )
            if lines:
                title = f"{subject.title}: {label}" if len(numbers) > 1 else subject.title
                found.append(_chart(subject, title, lines, named=True))
    return found


def _numbers(subject: Subject) -> list[tuple[str, str, bool]]:
    """Returns tag, label, and whether an evaluation measured it."""
    return [
        *((tag, label, False) for tag, label in subject.tags.items()),
        *((tag, label, True) for tag, label in subject.measured.items()),
    ]


def _scalar(record: RunRecord, tag: str, measured: bool) -> Scalar | None:
    scalar = (record.evaluation if measured else record.training).get(tag)
    return scalar if scalar is not None and np.isfinite(scalar.values).any() else None


def _chart(subject: Subject, title: str, lines: tuple[Line, ...], named: bool) -> Chart:
    return Chart(title, subject.note, lines, named, subject.share, subject.from_zero)
