"""Makes the pictures of a page: embedded, named, and linked to their files where the page can reach them."""

from __future__ import annotations

import dataclasses
import functools
import os
import urllib.parse

import numpy as np

from tf_simclrv2.report.thumbnails import data_uri


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture that stands for an image.

    Attributes:
        name: The name of the image; "" if it is not known.
        href: A link to its file, relative to the page; "" if there is no such file.
        src: The `src` of an `<img>`; "" for an entry of a table.
        alt: The text alternative.
        title: What is shown when a pointer rests on it.
        right: Whether it has the class of the image next to which it is shown; None if that is not known.
    """

    name: str
    href: str = ""
    src: str = ""
    alt: str = ""
    title: str = ""
    right: bool | None = None


class Pictures:
    """Makes the pictures of one page.

    Args:
        directory: Where the page will lie.

    Example:
        >>> pictures = Pictures("runs/mine")
        >>> pictures.make(pixels, "cats/7.png", "/home/me/pets", "view 1 of", "cat").alt
        'view 1 of cats/7.png, cat'
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory or "."

    def make(
        self,
        pixels: np.ndarray,
        name: str,
        folder: str,
        words: str = "",
        after: str = "",
        right: bool | None = None,
    ) -> Picture:
        """Embeds an image.

        Args:
            pixels: uint8 [H, W, 3].
            name: The name of the image, or what to call it without one.
            folder: The absolute path of the folder that the name is relative to; "" if it names no file.
            words: What the picture is, before the name.
            after: What else is known, after the name.
            right: See `Picture`.
        """
        judged = {True: ", right", False: ", wrong", None: ""}[right]
        named = f"{name}{', ' if after else ''}{after}"
        return Picture(
            name=name,
            href=self.link(name, folder),
            src=data_uri(pixels),
            alt=f"{words}{' ' if words else ''}{named}{judged}",
            title=named,
            right=right,
        )

    @functools.cache  # noqa: B019  A page lives shorter than the program.
    def link(self, name: str, folder: str) -> str:
        """Returns a link from the page to a file; "" if it is not on this machine."""
        path = os.path.join(folder, name)
        if not folder or "://" in folder + self._directory or not os.path.isfile(path):
            return ""
        return urllib.parse.quote(os.path.relpath(path, os.path.abspath(self._directory)))
