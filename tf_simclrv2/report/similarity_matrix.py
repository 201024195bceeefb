"""Draws the cosine similarities within one batch."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from tf_simclrv2.report.figure_style import INK, OPPOSITION, new_axes, styled, svg
from tf_simclrv2.report.observations import Observations


@styled
def similarity_svg(seen: Observations) -> Markup:
    """Draws the similarities: blue is similar, orange opposite; for two views the diagonal should be blue."""
    axes = new_axes(4.2, 3.8)
    axes.grid(False)
    image = axes.imshow(seen.similarity, cmap=OPPOSITION, vmin=-1, vmax=1, interpolation="none")
    axes.set_xticks([])
    axes.set_yticks([])
    rows, columns = ("first view", "second view") if seen.similarity_of_views else ("image", "image")
    axes.set_ylabel(rows)
    axes.set_xlabel(columns)
    bar = axes.figure.colorbar(image, shrink=0.7, ticks=[-1, 0, 1])
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelcolor=INK)
    return svg(axes, _description(seen))


def own_view_first(similarity: np.ndarray) -> float:
    """Returns the share of first views whose most similar second view is of the same image."""
    return float(np.mean(similarity.argmax(axis=1) == np.arange(len(similarity))))


def _description(seen: Observations) -> str:
    on = np.eye(len(seen.similarity), dtype=bool)
    if not seen.similarity_of_views:
        return f"Cosine similarities of {len(on)} images, ordered by class."
    return (
        f"Cosine similarities of the views of {len(on)} images: on average "
        f"{seen.similarity[on].mean():.2f} between views of the same image and "
        f"{seen.similarity[~on].mean():.2f} between views of different images."
    )
