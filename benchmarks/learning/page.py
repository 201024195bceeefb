"""The measured part of docs/learning.md: a table, and a picture of the curves."""

from __future__ import annotations

import itertools
import pathlib
import statistics
from collections.abc import Sequence

from matplotlib.figure import Figure

from benchmarks.learning.pieces import Measured, Rows, runs_of
from benchmarks.measuring.measured_page import NOTHING, percent

NAMES = {
    "ours": "this package",
    "published": "google-research/simclr",
    "lightly_zero": "lightly, residual blocks zero at first",
    "lightly": "lightly",
    "lightly_zero_no_bias": "lightly, residual blocks zero at first, last batch norm without a bias",
    "ours_on_lightly": "this package, learning from lightly's views",
}
_KINDS = {"linear": "linear probe", "neighbors": "20 nearest neighbors"}
# Of Okabe and Ito's colors, which the color-blind tell apart; the marks differ in shape too. Times are of
# programs as they are, not of one that waits for the views of another, nor of one whose head was changed.
_LOOKS = {
    "ours": ("#0072B2", "o"),
    "published": ("#D55E00", "s"),
    "lightly_zero": ("#009E73", "^"),
    "lightly": ("#CC79A7", "v"),
}
_GOALS = (0.65, 0.7, 0.72, 0.74, 0.76, 0.78, 0.8, 0.82, 0.84, 0.86, 0.88, 0.9)


def measured_part(measured: Measured) -> str:
    """Everything that was measured, in Markdown."""
    if not measured.results:
        return NOTHING
    return "\n\n".join(
        [
            _machines(measured),
            table(measured),
            times_table(measured),
            "![Accuracy against minutes of training](images/learning.png)",
        ]
    )


def table(measured: Measured) -> str:
    """Accuracies after the last epoch and before the first step, and the time of an epoch."""
    lines = [
        "| | seeds | linear probe, % | 20 nearest neighbors, % | before the first step: linear, neighbors "
        "| seconds per epoch |",
        "|---|---|---|---|---|---|",
    ]
    for name, runs in _runs(measured):
        last, first = [run[-1] for run in runs], [run[0] for run in runs]
        epoch = f"{statistics.mean(row['seconds'] / row['epoch'] for row in last):.0f}"
        before = ", ".join(percent([row[kind] for row in first]) for kind in _KINDS)
        after = " | ".join(percent([row[kind] for row in last]) for kind in _KINDS)
        lines.append(
            f"| {NAMES[name]} | {len(runs)} | {after} | {before} | {epoch if name in _LOOKS else '-'} |"
        )
    return "\n".join(lines)


def times_table(measured: Measured) -> str:
    """Seconds of training until the linear probe reaches some accuracies.

    A dash stands where a seed does not reach one, `untrained` where a network is there before its training.
    """
    every = _timed_runs(measured)
    goals = [goal for goal in _GOALS if any(_seconds(runs, goal) for _, runs in every)]
    if not goals:
        return (
            "Pretraining is too short to compare times: no program's linear probe has reached "
            f"{_GOALS[0]:.0%} or is above that of its own untrained network."
        )
    head = " | ".join(f"{goal:.0%}" for goal in goals)
    lines = [f"| seconds to a linear probe of | {head} |", "|---|" + "---|" * len(goals)]
    for name, runs in every:
        cells = " | ".join(_time_cell(runs, goal) for goal in goals)
        lines.append(f"| {NAMES[name]} | {cells} |")
    return "\n".join(lines)


def _time_cell(runs: list[Rows], goal: float) -> str:
    if _begins_above(runs, goal):
        return "untrained"
    seconds = _seconds(runs, goal)
    return "-" if seconds is None else f"{seconds:.0f}"


def _begins_above(runs: list[Rows], goal: float) -> bool:
    return max(run[0]["linear"] for run in runs) >= goal


def draw(measured: Measured) -> Figure:
    """Both accuracies against minutes of training, a line a seed."""
    figure = Figure(figsize=(10, 4), facecolor="white", layout="constrained")
    for axes, (kind, label) in zip(figure.subplots(1, 2), _KINDS.items(), strict=True):
        for name, runs in _timed_runs(measured):
            color, marker = _LOOKS[name]
            for number, run in enumerate(runs):
                minutes = [row["seconds"] / 60 for row in run]
                values = [100 * row[kind] for row in run]
                legend = NAMES[name] if number == 0 else None
                axes.plot(minutes, values, color=color, marker=marker, markersize=4, alpha=0.8, label=legend)
        axes.set_xlabel("minutes of training")
        axes.set_ylabel(f"{label}, top-1 %")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def save(measured: Measured, path: pathlib.Path) -> None:
    """Writes the picture."""
    draw(measured).savefig(path, dpi=100)


def _timed_runs(measured: Measured) -> list[tuple[str, list[Rows]]]:
    return [(name, runs) for name, runs in _runs(measured) if name in _LOOKS]


def _runs(measured: Measured) -> list[tuple[str, list[Rows]]]:
    found = [(name, runs_of(measured, name)) for name in NAMES]
    return [(name, runs) for name, runs in found if runs]


def _machines(measured: Measured) -> str:
    machines = sorted({piece["machine"] for piece in measured.results.values()})
    versions = {name.split("/")[0]: piece["versions"] for name, piece in measured.results.items()}
    with_what = "; ".join(f"{NAMES[name]}: {versions[name]}" for name in NAMES if name in versions)
    return f"Measured on {' and on '.join(machines)}. {with_what}."


def _seconds(runs: list[Rows], goal: float) -> float | None:
    """Mean over the seeds, linear between the measurements; None if not all begin below and reach it."""
    if _begins_above(runs, goal):
        return None
    found = [_seconds_of_run(run, goal) for run in runs]
    reached = [seconds for seconds in found if seconds is not None]
    return statistics.mean(reached) if len(reached) == len(runs) else None


def _seconds_of_run(run: Sequence[dict[str, float]], goal: float) -> float | None:
    for before, after in itertools.pairwise(run):
        if before["linear"] < goal <= after["linear"]:
            share = (goal - before["linear"]) / (after["linear"] - before["linear"])
            return before["seconds"] + share * (after["seconds"] - before["seconds"])
    return None
