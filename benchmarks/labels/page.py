"""The measured part of docs/labels.md: a table, and the picture of the curves."""

from __future__ import annotations

import pathlib
import statistics
from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from benchmarks.labels.points import HEAD_LAYERS, Measured, numbers
from benchmarks.measuring.measured_page import NOTHING, percent

# What is drawn, from the top of the legend; of Okabe and Ito's colors, with different marks.
CURVES = {
    "self": ("self-distilled", "#0072B2", "D"),
    "student": ("distilled into the small network", "#56B4E9", "^"),
    "tuned": ("fine-tuned, layer chosen on validation images", "#009E73", "o"),
    "linear": ("linear probe of h", "#E69F00", "s"),
    "scratch": ("from scratch", "#D55E00", "v"),
    "pixels": ("linear classifier of the pixels", "#999999", "x"),
}
ROWS = {name: label for name, (label, *_) in CURVES.items()} | {"scratch_small": "small network from scratch"}
# Seeds differ in their labels most of all, so stages are compared seed by seed.
PAIRS = (
    ("tuned", "scratch", "fine-tuned − from scratch"),
    ("tuned", "linear", "fine-tuned − linear probe"),
    ("self", "tuned", "self-distilled − fine-tuned"),
    ("self", "linear", "self-distilled − linear probe"),
    ("student", "scratch_small", "small student − small network from scratch"),
)
TITLES = {"digits": "Handwritten digits", "fashion_mnist": "Fashion-MNIST"}


def measured_part(scales: Mapping[str, Measured]) -> str:
    """Everything that was measured, in Markdown.

    Args:
        scales: What was measured, by scale.
    """
    sections = [_section(scale, measured) for scale, measured in scales.items() if measured.results]
    return "\n\n".join(sections) or NOTHING


def picture(scale: str) -> str:
    """The path of the picture of a scale, in docs/."""
    return f"images/labels_{scale}.png"


def _section(scale: str, measured: Measured) -> str:
    return "\n\n".join(
        [
            f"### {TITLES[measured.settings.dataset]}",
            _in_words(measured),
            f"![Accuracy against labels per class]({picture(scale)})",
            table(measured),
            "Differences in points, seed by seed:",
            pair_table(measured),
            "From which layer of the head it was best to fine-tune:",
            layer_table(measured),
        ]
    )


def table(measured: Measured) -> str:
    """A row for what was trained, a column for the labels per class."""
    budgets = _budgets(measured)
    lines = _head("top-1, %", measured, budgets)
    for name, label in ROWS.items():
        cells = " | ".join(percent(numbers(measured, per_class, name)) for per_class in budgets)
        lines.append(f"| {label} | {cells} |")
    before = " | ".join(percent(numbers(measured, per_class, "tuned/start")) for per_class in budgets)
    return "\n".join([*lines, f"| fine-tuned, before the first step | {before} |"])


def pair_table(measured: Measured) -> str:
    """By how much one stage is better than another, as means of the differences of each seed."""
    budgets = _budgets(measured)
    lines = _head("points", measured, budgets)
    for one, other, label in PAIRS:
        cells = (
            _difference(numbers(measured, per_class, one), numbers(measured, per_class, other))
            for per_class in budgets
        )
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _head(title: str, measured: Measured, budgets: list[int]) -> list[str]:
    """The head of a table, which says where not all seeds have been measured."""
    counts = [len(numbers(measured, per_class, "tuned")) for per_class in budgets]
    seeds = ["" if count == len(measured.settings.seeds) else f" ({_seeds(count)})" for count in counts]
    names = [f"{per_class}{of}" for per_class, of in zip(budgets, seeds, strict=True)]
    return [f"| {title} | {' | '.join(names)} |", "|---|" + "---|" * len(budgets)]


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"


def _difference(ones: list[float], others: list[float]) -> str:
    values = [100 * (one - other) for one, other in zip(ones, others, strict=True)]
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):+.1f}{spread}"


def layer_table(measured: Measured) -> str:
    """Test accuracies by layer, and how often each was chosen on the validation images."""
    budgets = _budgets(measured)
    lines = _head("from layer", measured, budgets)
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
    spread = "One seed so far, so it is not known how much they differ."
    if len(seeds) > 1:
        spread = (
            f"Mean and sample standard deviation of {len(seeds)} seeds, or of fewer where the table says so; "
            "bands reach from the worst to the best of them."
        )
    return (
        f"{settings.train_images:,} training, {settings.validation_images:,} validation and "
        f"{settings.test_images:,} test images at {settings.image_size} pixels; ResNet-{settings.big_depth}, "
        f"the small network ResNet-{settings.small_depth}. Pretraining has {settings.pretrain_epochs} epochs "
        f"in batches of {settings.pretrain_batch_size}; training on labels, from the pretrained network or "
        f"from scratch, the same {settings.label_steps:,} steps, or {settings.label_epochs} epochs if these "
        f"are more, in batches of {settings.label_batch_size}; distillation has {settings.distill_epochs} "
        f"epochs. {spread}"
    )
