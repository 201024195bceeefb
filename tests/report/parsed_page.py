"""A page as its tags, its text and its tables."""

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
        rows: For each section by its id, the text of every cell of every row of its tables.
        pictures: For each section by its id, the attributes of every picture, with those of the link that it
            is in.
    """

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: dict[str, list[list[str]]] = {}
        self.pictures: dict[str, list[dict[str, str | None]]] = {}
        self._words: list[str] = []
        self._section = ""
        self._in_cell = False
        self._link: dict[str, str | None] = {}
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        self.text = " ".join(self._words)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag == "section":
            self._section = attributes["id"] or ""
        if tag == "a":
            self._link = attributes
        if tag == "img":
            self.pictures.setdefault(self._section, []).append({**self._link, **attributes})
        if tag == "tr":
            self.rows.setdefault(self._section, []).append([])
        if tag in ("td", "th"):
            self.rows[self._section][-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._link = {}
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        self._words += data.split()
        if self._in_cell:
            cells = self.rows[self._section][-1]
            cells[-1] = " ".join([*cells[-1].split(), *data.split()])

    def all(self, name: str) -> list[dict[str, str | None]]:
        """The attributes of every tag of a name."""
        return [attributes for tag, attributes in self.tags if tag == name]
