"""Figures that take their colours from the page, so that one picture serves light and dark."""

from __future__ import annotations

import html
import io
import re

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

# Stand-ins: no picture means these colours, and the page's own variables take their place.
INK, MUTED, LINE = "#010203", "#010204", "#010205"
SERIES = tuple(f"#0102{16 + i:02x}" for i in range(10))
_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    **{color: f"var(--series-{i})" for i, color in enumerate(SERIES)},
}

# Pixels cannot have variables, but they can be transparent: blue is 1, orange -1, and nothing 0.
_BLUE, _ORANGE = (0.23, 0.45, 0.92), (0.89, 0.45, 0.13)
OPPOSITION = LinearSegmentedColormap.from_list(
    "opposition",
    [(0.0, (*_ORANGE, 1.0)), (0.5, (*_ORANGE, 0.0)), (0.5, (*_BLUE, 0.0)), (1.0, (*_BLUE, 1.0))],
)

_STYLE = {
    "axes.edgecolor": LINE,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": MUTED,
    "axes.labelsize": 10,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "text.color": INK,
    "xtick.color": LINE,
    "xtick.labelcolor": MUTED,
    "xtick.labelsize": 10,
    "ytick.color": LINE,
    "ytick.labelcolor": MUTED,
    "ytick.labelsize": 10,
    "ytick.major.size": 0,
}

# Makes a figure, and is a decorator of what does.
styled = matplotlib.rc_context(_STYLE)


def new_axes(width: float, height: float) -> Axes:
    """Axes that fill a figure of their own; sizes in inches of 72 of the page's pixels."""
    return Figure(figsize=(width, height)).add_subplot()


def show_percent(axes: Axes) -> None:
    """Shows shares of 1 on the second axis in percent."""
    low, high = axes.get_ylim()
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0 if high - low > 0.05 else None))


def svg(axes: Axes, description: str) -> Markup:
    """The axes' figure as an `<svg>` within the page.

    Args:
        axes: Of a figure made in this style.
        description: For those who cannot see it.
    """
    file = io.StringIO()
    axes.figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    for color, variable in _VARIABLES.items():
        text = text.replace(color, variable)
    view_box = re.search(r'viewBox="[^"]*"', text)[0]
    opening = f'<svg {view_box} role="img" aria-label="{html.escape(description)}">'
    return Markup(re.sub(r"<svg[^>]*>", lambda _: opening, text, count=1))


def series(number: int) -> str:
    """The colour of the line, or class, of a number; they go round."""
    return SERIES[number % len(SERIES)]


def css_color(color: str) -> Markup:
    """A colour of a figure, for the page's own style."""
    return Markup(_VARIABLES.get(color, color))
