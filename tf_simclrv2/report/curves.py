"""Draws numbers over training steps as lines."""

from __future__ import annotations

import dataclasses

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from tf_simclrv2.report.event_files import Scalar
from tf_simclrv2.report.figure_style import css_color, new_axes, series, show_percent, styled, svg

# More points than pixels would show nothing more.
POINTS = 500
FEW = 12
WIDTH, HEIGHT = 4.2, 2.5


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        label: The name of the line.
        scalar: The points.
        color: The index of the color; lines with the same index have the same color in all charts.
        sparse: Whether to mark every point; for single measurements.
    """

    label: str
    scalar: Scalar
    color: int
    sparse: bool = False


@dataclasses.dataclass(frozen=True)
class Chart:
    """A chart of lines.

    Attributes:
        title: The title.
        note: A sentence on how to read it.
        lines: At least one line.
        named: Whether the chart needs a legend.
        share: Whether values are shares of 1, shown in percent.
        from_zero: Whether the vertical axis starts at 0.
    """

    title: str
    note: str
    lines: tuple[Line, ...]
    named: bool
    share: bool = False
    from_zero: bool = False

    @property
    def legend(self) -> list[tuple[str, Markup]]:
        """Names and colors of the lines; empty if the title says it all."""
        return [(line.label, css_color(series(line.color))) for line in self.lines] if self.named else []

    @styled
    def svg(self) -> Markup:
        """Draws the chart."""
        axes = new_axes(WIDTH, HEIGHT)
        for line in self.lines:
            steps, values = _thin(line.scalar)
            few = line.sparse or len(steps) <= FEW
            marker = "o" if few else None
            axes.plot(steps, values, color=series(line.color), marker=marker, markersize=4)
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.margins(x=0.02)
        if self.from_zero:
            axes.set_ylim(0.0, 1.05 * axes.get_ylim()[1])
        if self.share:
            show_percent(axes)
        return svg(axes, self._description())

    def _description(self) -> str:
        parts = [
            f"{line.label} goes from {self._number(line.scalar.values[0])} at step {line.scalar.steps[0]:,} "
            f"to {self._number(line.scalar.values[-1])} at step {line.scalar.steps[-1]:,}"
            for line in self.lines
        ]
        return f"{self.title} over the steps: {'; '.join(parts)}."

    def _number(self, value: float) -> str:
        return f"{value:.1%}" if self.share else f"{value:.4g}"


def _thin(scalar: Scalar) -> tuple[np.ndarray, np.ndarray]:
    """Averages neighboring points, so that at most `POINTS` are left; skips values that are not finite."""
    finite = np.isfinite(scalar.values)
    steps, values = scalar.steps[finite], scalar.values[finite]
    parts = min(POINTS, max(len(steps), 1))
    return tuple(
        np.array([part.mean() for part in np.array_split(column, parts) if len(part)])
        for column in (steps, values)
    )
