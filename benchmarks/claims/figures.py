"""One picture a claim: accuracies on the left, the differences that the claim is about on the right."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.claims.findings import Finding, Sample

# Of Okabe and Ito's colors, which the color-blind tell apart; the marks differ in shape too.
_BLUE, _VERMILION = "#0072B2", "#D55E00"


def draw(finding: Finding) -> Figure:
    """Means, standard deviations and, below them in gray, every seed.

    Args:
        finding: Of a claim.
    """
    rows = max(len(finding.accuracies), len(finding.differences))
    figure = Figure(figsize=(10, 1.3 + 0.42 * rows), facecolor="white", layout="constrained")
    figure.suptitle(f"({finding.letter}) {finding.title}", fontsize=11)
    left, right = figure.subplots(1, 2)
    _samples(left, finding.accuracies, _BLUE, "o", "{:.1f}")
    left.set_xlabel("top-1, %")
    _samples(right, finding.differences, _VERMILION, "D", "{:+.1f}")
    right.axvline(0, color="0.5", linewidth=1, zorder=0)
    right.set_xlabel("difference, points")
    return figure


def save(finding: Finding, folder: pathlib.Path) -> pathlib.Path:
    """Writes FOLDER/claims_LETTER.png."""
    path = folder / f"claims_{finding.letter}.png"
    draw(finding).savefig(path, dpi=100)
    return path


def _samples(axes: Axes, samples: Sequence[Sample], color: str, marker: str, number: str) -> None:
    for row, sample in enumerate(samples):
        mean, deviation = 100 * sample.mean, 100 * sample.deviation
        axes.errorbar(mean, row, xerr=deviation, fmt=marker, color=color, capsize=4)
        seeds = [100 * value for value in sample.values]
        axes.plot(seeds, [row + 0.25] * len(seeds), ".", color="0.45", markersize=5)
        axes.annotate(
            number.format(mean), (mean, row), (0, 7), textcoords="offset points", ha="center", fontsize=9
        )
    axes.set_yticks(range(len(samples)), [_in_two_lines(sample.label) for sample in samples], fontsize=9)
    axes.set_ylim(len(samples) - 0.5, -0.6)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _in_two_lines(label: str) -> str:
    """A long label broken after its colon, or at the space nearest to its middle."""
    if len(label) <= 36:
        return label
    if ": " in label:
        return label.replace(": ", ":\n", 1)
    spaces = [index for index, letter in enumerate(label) if letter == " "]
    middle = min(spaces, key=lambda index: abs(index - len(label) / 2))
    return f"{label[:middle]}\n{label[middle + 1 :]}"
