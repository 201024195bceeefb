"""The measured part of docs/labels.md: a table, and the picture of the curves."""

from __future__ import annotations

import pathlib
import statistics

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from benchmarks.labels.points import HEAD_LAYERS, Measured, numbers
from benchmarks.measuring.measured_page import NOTHING, percent

# What is drawn, from the top of the legend; of Okabe and Ito's colors, with different marks.
CURVES = {
    "self": ("self-distilled", "#0072B2", "D"),
    "student": ("distilled into the small network", "#56B4E9", "^"),
    "tuned": ("fine-tuned from the best layer", "#009E73", "o"),
    "linear": ("linear probe of h", "#E69F00", "s"),
    "scratch": ("from scratch", "#D55E00", "v"),
}


def measured_part(measured: Measured) -> str:
    """Everything that was measured, in Markdown."""
    if not measured.results:
        return NOTHING
    return "\n\n".join(
        [
            _in_words(measured),
            "![Accuracy against labels per class](images/labels.png)",
            table(measured),
            "From which layer of the head it was best to fine-tune:",
            layer_table(measured),
        ]
    )


def table(measured: Measured) -> str:
    """A row for what was trained, a column for the labels per class."""
    budgets = _budgets(measured)
    lines = [f"| top-1, % | {' | '.join(map(str, budgets))} |", "|---|" + "---|" * len(budgets)]
    for name, (label, *_) in CURVES.items():
        cells = " | ".join(percent(numbers(measured, per_class, name)) for per_class in budgets)
        lines.append(f"| {label} | {cells} |")
    before = " | ".join(percent(numbers(measured, per_class, "tuned/start")) for per_class in budgets)
    return "\n".join([*lines, f"| fine-tuned, before the first step | {before} |"])


def layer_table(measured: Measured) -> str:
    """Test accuracies by layer, and how often each was chosen on the validation images."""
    budgets = _budgets(measured)
    lines = [f"| from layer | {' | '.join(map(str, budgets))} |", "|---|" + "---|" * len(budgets)]
    for layer in HEAD_LAYERS:
        cells = " | ".join(percent(numbers(measured, per_class, f"layer{layer}")) for per_class in budgets)
        lines.append(f"| {layer}{' (h)' if layer == 0 else ''} | {cells} |")
    chosen = " | ".join(
        ", ".join(str(int(layer)) for layer in numbers(measured, per_class, "layer")) for per_class in budgets
    )
    return "\n".join([*lines, f"| chosen, by seed | {chosen} |"])


def draw(measured: Measured) -> Figure:
    """Means, with a band from the worst to the best seed."""
    budgets = _budgets(measured)
    figure = Figure(figsize=(8, 4.5), facecolor="white", layout="constrained")
    axes = figure.subplots()
    for name, (label, color, marker) in CURVES.items():
        values = [[100 * value for value in numbers(measured, per_class, name)] for per_class in budgets]
        axes.plot(
            budgets, [statistics.mean(each) for each in values], color=color, marker=marker, label=label
        )
        axes.fill_between(budgets, [*map(min, values)], [*map(max, values)], color=color, alpha=0.15)
    axes.set_xscale("log")
    axes.set_xticks(budgets, [f"{per_class:,}" for per_class in budgets])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("labels per class")
    axes.set_ylabel("top-1, %")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    return figure


def save(measured: Measured, path: pathlib.Path) -> None:
    """Writes the picture."""
    draw(measured).savefig(path, dpi=100)


def _budgets(measured: Measured) -> list[int]:
    return [per_class for per_class in measured.settings.per_class if numbers(measured, per_class, "tuned")]


def _in_words(measured: Measured) -> str:
    settings = measured.settings
    seeds = {each.split("/")[0] for each in measured.results}
    return (
        f"Measured with {settings.train_images:,} training, {settings.validation_images:,} validation and "
        f"{settings.test_images:,} test images of Fashion-MNIST at {settings.image_size} pixels; ResNet-"
        f"{settings.big_depth}, the small student ResNet-{settings.small_depth}; {settings.pretrain_epochs} "
        f"epochs of pretraining; seeds: {len(seeds)}. Mean and sample standard deviation; the bands in "
        "the picture reach from the worst to the best seed."
    )
