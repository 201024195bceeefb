"""A page of thumbnails in rows: what was found for a query, a group of duplicates, or pictures to label."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf

from tf_simclrv2.config import DataConfig
from tf_simclrv2.data import decode_image
from tf_simclrv2.data.augmentation import contained
from tf_simclrv2.embedding.embeddings import Origin
from tf_simclrv2.report.pictures import Picture, Pictures
from tf_simclrv2.report.template import render
from tf_simclrv2.version import VERSION

# Side of a thumbnail in pixels.
SIDE = 128
# Pictures on a page; browsers stay fast, and a file has about 15 MB.
MOST = 4000


@dataclasses.dataclass(frozen=True)
class Card:
    """An image on the page.

    Attributes:
        name: Its name.
        origin: Where the name counts, and what the image is laid on.
        caption: What stands below it, before the name.
    """

    name: str
    origin: Origin
    caption: str = ""


@dataclasses.dataclass(frozen=True)
class Row:
    """Images that belong together.

    Attributes:
        title: The heading of the row.
        cards: The images.
        first: An image that stands apart, before the others; None for none.
    """

    title: str
    cards: Sequence[Card]
    first: Card | None = None


def contact_sheet(title: str, notes: Sequence[str], rows: Iterable[Row], directory: str) -> str:
    """Returns a self-contained HTML page.

    Args:
        title: Its heading.
        notes: Lines below the heading.
        rows: What it shows; after `MOST` images it ends and says so.
        directory: Where the page will lie, for its links to the images.
    """
    makes, shown, room, left, cut = Pictures(directory), [], MOST, 0, 0
    for row in rows:
        if room <= 0:
            left += 1
            continue
        cards = row.cards[:room]
        cut += len(row.cards) - len(cards)
        room -= len(cards) + 1
        shown.append(
            {
                "title": row.title,
                "first": row.first and (_picture(makes, row.first), row.first),
                "pictures": [(_picture(makes, card), card) for card in cards],
            }
        )
    more = [f"{left:,} further rows are left out; the CSV and JSON files have all of them."] if left else []
    if cut:
        more.insert(
            0, f"{cut:,} images of the last row are left out; the CSV and JSON files have all of them."
        )
    values = {"title": title, "notes": [*notes, *more], "rows": shown, "version": VERSION, "side": SIDE}
    return render("contact_sheet.html.j2", "tf_simclrv2.embedding", **values)


def _picture(pictures: Pictures, card: Card) -> Picture:
    pixels = (
        thumbnail(os.path.join(card.origin.folder, card.name), card.origin) if card.origin.folder else None
    )
    if pixels is None:
        return Picture(name=card.name, title=card.name)
    return pictures.make(pixels, card.name, card.origin.folder, after=card.caption)


def thumbnail(path: str, origin: Origin) -> np.ndarray | None:
    """Returns a small copy of an image as a viewer shows it; None if it cannot be read.

    Args:
        path: Its file.
        origin: What transparent images are laid on.

    Returns:
        uint8 [SIDE, SIDE, 4], transparent where the image does not reach.
    """
    color = DataConfig(background=origin.background).background_color
    try:
        image = decode_image(tf.io.read_file(path), color)
    except tf.errors.OpError:
        return None
    return tf.image.convert_image_dtype(contained(image, SIDE), tf.uint8, saturate=True).numpy()
