"""A page as its tags and its text."""

from __future__ import annotations

import pathlib
from html.parser import HTMLParser


class ParsedPage(HTMLParser):
    """Reads a file.

    Args:
        path: Of an HTML file.

    Attributes:
        tags: Name and attributes of every tag.
        text: What a reader sees, with single spaces.
    """

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._words: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        self.text = " ".join(self._words)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self._words += data.split()

    def all(self, name: str) -> list[dict[str, str | None]]:
        """The attributes of every tag of a name."""
        return [attributes for tag, attributes in self.tags if tag == name]
