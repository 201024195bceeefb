"""What a job did, for the head of a comparison of its runs."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Chapter:
    """A stage of a job.

    Attributes:
        name: Its directory.
        command: What was typed.
        took: How long it took, in words.
        accuracy: What it reached, in words.
    """

    name: str
    command: str
    took: str
    accuracy: str


@dataclasses.dataclass(frozen=True)
class Story:
    """A job.

    Attributes:
        found: What it found and chose, in lines.
        chapters: What it did, in order.
        end: What came out.
    """

    found: tuple[str, ...]
    chapters: tuple[Chapter, ...]
    end: str
