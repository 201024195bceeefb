"""Recipes: flag files that come with the package, found by name."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

_FLAG = "--flagfile="
_SUFFIX = ".cfg"


def recipes_folder() -> pathlib.Path:
    """Returns the folder of the recipes: next to `cli` in an installed package, in `flags` in a checkout."""
    library = pathlib.Path(__file__).resolve().parents[1]
    installed = library / "recipes"
    return installed if installed.is_dir() else library.parent / "flags" / "recipes"


def with_recipes_found(words: Sequence[str]) -> list[str]:
    """Replaces the names of recipes in `--flagfile=NAME` by their paths; a file of that name comes first.

    Example:
        >>> with_recipes_found(["--flagfile=quickstart", "--seed=1"])
        ['--flagfile=/…/recipes/quickstart.cfg', '--seed=1']
    """
    return [_found(word) if word.startswith(_FLAG) else word for word in words]


def _found(word: str) -> str:
    name = word.removeprefix(_FLAG)
    recipe = recipes_folder() / f"{name.removesuffix(_SUFFIX)}{_SUFFIX}"
    return f"{_FLAG}{recipe}" if not pathlib.Path(name).exists() and recipe.is_file() else word
