"""Files of flags: the recipes that come with the package, and files of the user's."""

from __future__ import annotations

import difflib
import pathlib
from collections.abc import Sequence

from tf_simclrv2.errors import ConfigError
from tf_simclrv2.setting import as_path

_FLAGS = ("--flagfile", "-flagfile")
_SUFFIX = ".cfg"
_COMMENTS = ("#", "//")


def recipes_folder() -> pathlib.Path:
    """Returns the folder of the recipes: next to `cli` in an installed package, in `flags` in a checkout."""
    library = pathlib.Path(__file__).resolve().parents[1]
    installed = library / "recipes"
    return installed if installed.is_dir() else library.parent / "flags" / "recipes"


def recipe_names() -> list[str]:
    """Returns the names of all recipes, sorted."""
    return sorted(path.stem for path in recipes_folder().glob(f"*{_SUFFIX}"))


def with_flagfiles_read(words: Sequence[str], within: Sequence[str] = ()) -> list[str]:
    """Replaces `--flagfile=NAME` by the lines of that file, in which a line is a flag.

    absl would do that too, but knows no recipes. A file comes before the recipe of its name. A recipe may
    also be named as the pages do, `flags/recipes/NAME.cfg`, in any directory.

    Args:
        words: The command line.
        within: The files that are being read, the outermost first.

    Raises:
        ConfigError: There is no such file, it is not text, or it includes itself.

    Example:
        >>> with_flagfiles_read(["--flagfile=quickstart", "--seed=1"])
        ['--dataset=cifar10', …, '--seed=1']
    """
    found: list[str] = []
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name not in _FLAGS:
            found.append(word)
            continue
        path = _path_of(value if equals else next(rest, ""))
        if path in within:
            raise ConfigError(f"flagfile {path!r} includes itself; remove --flagfile from {within[-1]!r}.")
        found += with_flagfiles_read(_lines(path), (*within, path))
    return found


def _path_of(name: str) -> str:
    name = as_path("flagfile", name.strip())
    recipe = recipes_folder() / f"{name.removeprefix('flags/recipes/').removesuffix(_SUFFIX)}{_SUFFIX}"
    # A folder of that name may be there, such as a run's.
    return str(recipe) if not pathlib.Path(name).is_file() and recipe.is_file() else name


def _lines(path: str) -> list[str]:
    try:
        # Some editors begin a file with a mark, which this encoding skips.
        text = pathlib.Path(path).read_text("utf-8-sig")
    except OSError as error:
        close = difflib.get_close_matches(pathlib.Path(path).stem, recipe_names(), 1)
        cure = f"did you mean {close[0]}?" if close else f"the recipes are {', '.join(recipe_names())}."
        raise ConfigError(
            f"flagfile is {path!r}, which is neither a file that can be read nor a recipe; {cure}"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"flagfile is {path!r}, which is not text; write one flag per line.") from error
    lines = [line.strip() for line in text.split("\n")]
    return [line for line in lines if line and not line.startswith(_COMMENTS)]
