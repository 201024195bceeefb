"""Whether two lists of class names mean the same classes: labels are only numbers."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from tf_simclrv2.errors import DataError


def composed(name: str) -> str:
    r"""Returns a class name in Unicode's composed form: some systems write an accent as a letter of its own.

    Args:
        name: The name of a folder, or a label in a file.

    Example:
        >>> composed("Ka\u0308fer") == "K\u00e4fer"
        True
    """
    return unicodedata.normalize("NFC", name)


def refuse_other_class_names(
    former: str, names: Sequence[str], latter: str, others: Sequence[str], cure: str
) -> None:
    """Checks that two lists of class names are the same, in the same order.

    Args:
        former: What has `names`, for the message.
        names: Class names by label.
        latter: What has `others`, for the message.
        others: Class names by label.
        cure: What would do, for the message.

    Raises:
        DataError: They differ, and in which label first.

    Example:
        >>> refuse_other_class_names("the run", ("cat", "dog"), "the data", ("cat", "cow"), "use other data")
        DataError: the run has 2 classes and the data has 2, and label 1 is 'dog' in the former and 'cow'
        in the latter; use other data.
    """
    names, others = tuple(map(composed, names)), tuple(map(composed, others))
    if names == others:
        return
    label = first_differing_label(names, others)
    order = " (the same names, in another order)" if sorted(names) == sorted(others) else ""
    raise DataError(
        f"{former} has {len(names)} classes and {latter} has {len(others)}, and label {label} is "
        f"{_name(names, label)} in the former and {_name(others, label)} in the latter{order}; {cure}."
    )


def first_differing_label(names: Sequence[str], others: Sequence[str]) -> int:
    """Finds the first label with another name; the length of the shorter list where only that differs."""
    pairs = enumerate(zip(names, others, strict=False))
    return next((label for label, (a, b) in pairs if a != b), min(len(names), len(others)))


def _name(names: Sequence[str], label: int) -> str:
    return repr(names[label]) if label < len(names) else "missing"
