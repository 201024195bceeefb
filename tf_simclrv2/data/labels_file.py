"""A CSV file of labels: `path,label` on each line, for images whose folders do not state their classes."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import os
from collections.abc import Iterator, Sequence
from typing import Any

from tf_simclrv2.data.class_names import composed
from tf_simclrv2.data.image_folder import UNLABELED
from tf_simclrv2.errors import DataError

PATH, LABEL = "path", "label"
SEPARATORS = ",;\t"


def read_labels(path: str) -> dict[str, str]:
    """Reads the class of each image.

    Args:
        path: A CSV file whose first line names the columns, `path` and `label` among them. Commas, semicolons
            or tabs separate them.

    Returns:
        Class names by the images' names, in the file's order; an empty label is kept as "".

    Raises:
        DataError: There is no such file, it has no such columns, names an image twice, a line has another
            separator or more fields than the first, or a label has a line break.

    Example:
        >>> read_labels("labels.csv")
        {'IMG_0001.jpg': 'owl', 'IMG_0007.jpg': 'fox'}
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            # Spreadsheets write semicolons where a comma stands in numbers.
            header = file.readline()
            separator = max(SEPARATORS, key=header.count)
            rows = csv.DictReader(itertools.chain([header], file), delimiter=separator, strict=True)
            missing = {PATH, LABEL} - set(rows.fieldnames or ())
            if missing:
                raise DataError(
                    f"{path!r} has the columns {', '.join(rows.fieldnames or ()) or 'of no header'}, but "
                    f"needs {PATH} and {LABEL}; write '{PATH},{LABEL}' as its first line."
                )
            labels: dict[str, str] = {}
            for row in _numbered(rows):
                _refuse_other_fields(path, rows.line_num, row, separator)
                name, label = (row[column] or "" for column in (PATH, LABEL))
                if not name.strip() and not label.strip():
                    continue  # Spreadsheets end with empty rows.
                if name in labels:
                    raise named_twice(path, name)
                label = composed(label.strip())
                if len(label.splitlines()) > 1:
                    raise DataError(
                        f"{path!r} gives {name!r} the label {label!r}, which has a line break; "
                        "write it in one line."
                    )
                labels[name] = label
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"The labels {path!r} cannot be read as CSV ({error}); write a file with the columns {PATH} and "
            f"{LABEL}."
        ) from error
    if not labels:
        raise DataError(f"{path!r} names no images; write a line with {PATH} and {LABEL} for each.")
    return labels


def _numbered(rows: csv.DictReader[str]) -> Iterator[dict[str, Any]]:
    """Yields rows; an error tells the line where the row begins, as a quote may be open to the end."""
    begin = rows.line_num + 1
    try:
        for row in rows:
            yield row
            begin = rows.line_num + 1
    except csv.Error as error:
        raise csv.Error(f"line {begin}: {error}") from error


def _refuse_other_fields(path: str, line: int, row: dict[str, Any], separator: str) -> None:
    """Refuses a row whose label would get lost.

    Args:
        path: The file.
        line: Where the row ends.
        row: Its fields by column; None holds those beyond the last column.
        separator: Of the first line.
    """
    if any(field.strip() for field in row.get(None, ())):
        raise DataError(
            f"Line {line} of {path!r} has more fields than the first line has columns; write one label for "
            "an image, and a field that holds the separator in quotes."
        )
    name = row[PATH] or ""
    # A comma may be a part of a name, but an extension ends one.
    parts = [name.split(other)[0] for other in SEPARATORS if other in name]
    if row[LABEL] is None and any(os.path.splitext(part)[1] for part in parts):
        raise DataError(
            f"Line {line} of {path!r} is {name!r}, which has no field for the label; separate its fields "
            f"with {separator!r}, as in the first line."
        )


def named_twice(path: str, name: str) -> DataError:
    """Returns the error about an image that a file names more than once."""
    return DataError(f"{path!r} names {name!r} more than once; give each image one line.")


@dataclasses.dataclass(frozen=True)
class LabelsFile:
    """The labels of a file, for the images of a split.

    Attributes:
        path: The file.
        class_of: Class names by the images' names; images whose label is empty are left out.
    """

    path: str
    class_of: dict[str, str]

    @classmethod
    def read(cls, path: str) -> LabelsFile:
        """Reads a file.

        Raises:
            DataError: It is not such a file, or holds no label.
        """
        class_of = {name: label for name, label in read_labels(path).items() if label}
        if not class_of:
            raise DataError(f"{path!r} has no label in its column {LABEL}; fill in some.")
        return cls(path, class_of)

    def number(
        self, names: Sequence[str], class_names: tuple[str, ...]
    ) -> tuple[tuple[int, ...], tuple[str, ...]] | None:
        """Numbers the classes of a split's images.

        Args:
            names: The names of all images of the split.
            class_names: The classes that the split has without this file; () if it has none.

        Returns:
            The label of each image, -1 for those that the file does not name, and the class names: those
            that the split has, if all of the file's are among them, else the file's, sorted. None if the file
            names none of the images.
        """
        if not any(name in self.class_of for name in names):
            return None
        ours = set(self.class_of.values())
        chosen = class_names if ours <= set(class_names) else tuple(sorted(ours))
        number = {name: label for label, name in enumerate(chosen)}
        return tuple(number.get(self.class_of.get(name, ""), UNLABELED) for name in names), chosen
