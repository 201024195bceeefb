"""The first few of many names, for a message."""

from __future__ import annotations

from collections.abc import Sequence

_MOST = 8


def some_names(names: Sequence[str], most: int = _MOST) -> str:
    """Returns the first names, separated by commas, and an ellipsis if there are more.

    Example:
        >>> some_names(["cat", "dog", "owl"], most=2)
        'cat, dog, …'
    """
    return ", ".join([*names[:most], *(["…"] if len(names) > most else [])])
