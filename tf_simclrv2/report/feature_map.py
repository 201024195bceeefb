"""Maps features to the plane by PCA and t-SNE, and draws the maps as points and as thumbnails."""

from __future__ import annotations

import colorsys
import html

import numpy as np
from markupsafe import Markup
from PIL import Image, ImageOps
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from tf_simclrv2.report.figure_style import SERIES, new_axes, series, styled, svg
from tf_simclrv2.report.observations import Observations
from tf_simclrv2.report.pictures import Pictures
from tf_simclrv2.report.thumbnails import data_uri

COMPONENTS = 50
PERPLEXITY = 30
# Half of scikit-learn's default: the clusters have formed by then, in half the time.
ITERATIONS = 500
# t-SNE needs at least this many images.
FEWEST = 5
CELLS = 32
CELL_PIXELS = 32


def principal_map(features: np.ndarray) -> np.ndarray:
    """Returns the first two principal components, [N, 2]."""
    return features[:, :2]


def neighbor_map(features: np.ndarray) -> np.ndarray:
    """Computes t-SNE of the first components, [N, 2]: neighbors stay close, distances mean little.

    Reference: van der Maaten & Hinton 2008.
    """
    few = features[:, :COMPONENTS]
    perplexity = min(PERPLEXITY, (len(few) - 1) / 3)
    # Its threads wait for each other in busy loops: on busy cores two take many times as long as one.
    with threadpool_limits(1):
        tsne = TSNE(perplexity=perplexity, max_iter=ITERATIONS, init="pca", random_state=0)
        return tsne.fit_transform(few)


@styled
def points_svg(points: np.ndarray, seen: Observations, kind: str) -> Markup:
    """Draws a point for each image, in the color of its class.

    Args:
        points: [N, 2].
        seen: The observations of the images.
        kind: The kind of map, for the description.
    """
    axes = new_axes(4.2, 4.0)
    axes.set_axis_off()
    axes.set_aspect("equal", "datalim")
    for label in np.unique(seen.labels):
        chosen = points[seen.labels == label]
        color = class_color(int(label), len(seen.class_names))
        axes.plot(*chosen.T, "o", color=color, markersize=3.2, markeredgewidth=0, alpha=0.75)
    classes = f" in the colors of {len(np.unique(seen.labels))} classes" if seen.has_labels else ""
    return svg(axes, f"{kind} of {len(points)} images{classes}.")


def class_color(label: int, classes: int) -> str:
    """Returns the color of a class; if the page has too few colors, hues around the color wheel."""
    if label < 0 or classes <= len(SERIES):
        return series(max(label, 0))
    rgb = colorsys.hls_to_rgb(label / classes, 0.55, 0.6)
    return "#" + "".join(f"{round(255 * value):02x}" for value in rgb)


def thumbnail_map(points: np.ndarray, seen: Observations, pictures: Pictures) -> Markup:
    """Draws thumbnails at their points, one per cell of a grid, on a transparent ground.

    Hovering over a point shows the name of its image; the point links to the image's file.

    Args:
        points: [N, 2].
        seen: The observations of the images.
        pictures: Links the images to their files.

    Returns:
        An `<svg>` element.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    places = np.round((points - low) / np.maximum(high - low, 1e-9) * (CELLS - 1)).astype(int)
    side = CELLS * CELL_PIXELS
    canvas = Image.new("RGBA", (side, side))
    areas: dict[tuple[int, int], str] = {}
    for index, (column, row) in enumerate(places.tolist()):
        # The second axis of the plane points up, that of a picture down.
        x, y = column * CELL_PIXELS + 1, (CELLS - 1 - row) * CELL_PIXELS + 1
        if (x, y) not in areas:
            canvas.paste(_in_cell(seen.images[index]), (x, y))
            areas[x, y] = _area(x, y, seen, index, pictures)
    return Markup(
        f'<svg class="map" viewBox="0 0 {side} {side}" role="img" aria-label="Thumbnails of {len(areas)} '
        f'images at their places in the t-SNE map"><image width="{side}" height="{side}" '
        f'href="{data_uri(np.asarray(canvas))}"/>{"".join(areas.values())}</svg>'
    )


def _in_cell(image: np.ndarray) -> Image.Image:
    picture = ImageOps.contain(Image.fromarray(image), (CELL_PIXELS - 2, CELL_PIXELS - 2))
    if picture.width < CELL_PIXELS - 2:
        picture = picture.resize((CELL_PIXELS - 2, CELL_PIXELS - 2), Image.Resampling.NEAREST)
    return picture


def _area(x: int, y: int, seen: Observations, index: int, pictures: Pictures) -> str:
    """The place of an image: nothing to see, but a name, and a link if there is a file."""
    name, of_class = seen.image_name(index), seen.class_of(int(seen.labels[index]))
    title = html.escape(f"{name}, {of_class}" if of_class else name)
    size = CELL_PIXELS - 2
    area = f'<rect x="{x}" y="{y}" width="{size}" height="{size}"><title>{title}</title></rect>'
    link = pictures.link(name, seen.folder)
    return f'<a href="{html.escape(link)}">{area}</a>' if link else area
