"""Styles figures, whose colors come from the page, so that one picture suits light and dark mode."""

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

# Placeholders, which `svg` replaces by the page's CSS variables.
INK, MUTED, LINE = "#010203", "#010204", "#010205"
SERIES = tuple(f"#0102{16 + i:02x}" for i in range(10))
_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    **{color: f"var(--series-{i})" for i, color in enumerate(SERIES)},
}

# Pixels cannot have CSS variables, but they can be transparent: 1 is blue, -1 orange, and 0 transparent.
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

# A context manager and a decorator in which figures get this style.
styled = matplotlib.rc_context(_STYLE)


def new_axes(width: float, height: float) -> Axes:
    """Returns axes that fill a new figure; sizes are in inches, each 72 pixels of the page."""
    return Figure(figsize=(width, height)).add_subplot()


def show_percent(axes: Axes) -> None:
    """Labels the vertical axis, whose values are shares of 1, in percent."""
    low, high = axes.get_ylim()
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0 if high - low > 0.05 else None))


def svg(axes: Axes, description: str) -> Markup:
    """Renders the figure of some axes as an `<svg>` element of the page.

    Args:
        axes: Axes of a figure made in this style.
        description: A text alternative for screen readers.
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
    """Returns the color of a line or class by its index; colors repeat."""
    return SERIES[number % len(SERIES)]


def css_color(color: str) -> Markup:
    """Returns a color of a figure as a CSS color of the page."""
    return Markup(_VARIABLES.get(color, color))
