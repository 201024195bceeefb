"""Plots accuracy against the number of labels, if several numbers were tried."""

from __future__ import annotations

import re
from collections.abc import Iterable

from markupsafe import Markup
from matplotlib.ticker import NullLocator

from tf_simclrv2.report.figure_style import css_color, new_axes, series, show_percent, styled, svg
from tf_simclrv2.report.run_record import RunRecord

_PROBE = re.compile(r"linear(?:_(\d+)_per_class)?/(\w+)/top_1_accuracy")

_NAMES = {"random_encoder": "h at random weights", "raw_pixels": "raw pixels"}

_STAGES = {"finetune": "fine-tuned", "distill": "distilled"}

# Top-1 accuracy by labels per class, by learner.
Efficiency = dict[str, dict[float, float]]


def label_efficiency(records: Iterable[RunRecord]) -> Efficiency:
    """Returns the accuracy of runs by labels per class; learners with a single number of labels are omitted.

    If several runs have the same number of labels, their mean is returned.
    """
    reached: dict[str, dict[float, list[float]]] = {}
    for record in records:
        for learner, labels, accuracy in _points(record):
            reached.setdefault(learner, {}).setdefault(labels, []).append(accuracy)
    return {
        learner: {labels: sum(found) / len(found) for labels, found in sorted(by_labels.items())}
        for learner, by_labels in reached.items()
        if len(by_labels) > 1
    }


@styled
def label_efficiency_svg(efficiency: Efficiency) -> Markup:
    """Draws a line for each learner."""
    axes = new_axes(4.2, 2.9)
    for number, points in enumerate(efficiency.values()):
        axes.plot(list(points), list(points.values()), color=series(number), marker="o", markersize=4)
    ticks = sorted({labels for points in efficiency.values() for labels in points})
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(ticks, [_count(tick) for tick in ticks])
    axes.set_xlabel("labels per class")
    show_percent(axes)
    parts = [
        f"{learner} {', '.join(f'{top_1:.1%} with {_count(labels)}' for labels, top_1 in points.items())}"
        for learner, points in efficiency.items()
    ]
    return svg(axes, f"Top-1 accuracy by labels per class: {'; '.join(parts)}.")


def _count(labels: float) -> str:
    return f"{labels:,.0f}" if labels >= 10 else f"{labels:.3g}"


def efficiency_legend(efficiency: Efficiency) -> list[tuple[str, Markup]]:
    """Returns the names and colors of the lines."""
    return [(learner, css_color(series(number))) for number, learner in enumerate(efficiency)]


def _points(record: RunRecord) -> Iterable[tuple[str, float, float]]:
    if record.observations is None or not record.observations.class_names:
        return
    labels = record.observations.train_labels or record.observations.train_examples
    every = labels / len(record.observations.class_names)
    stage = record.config.training.train_mode if record.config else "pretrain"
    of_stage = "" if stage == "pretrain" else f", {_STAGES.get(stage, stage)}"  # It has learned labels too.
    for tag, accuracy in record.result.items():
        probe = _PROBE.fullmatch(tag)
        if probe:
            few, endpoint = probe.groups()
            trained = "h" if endpoint == "final_avg_pool" else endpoint
            name = _NAMES.get(endpoint, trained + of_stage)
            yield f"linear probe of {name}", float(few or every), accuracy
    if stage in ("finetune", "supervised") and "eval/label_top_1_accuracy" in record.result:
        yield stage, every, record.result["eval/label_top_1_accuracy"]
