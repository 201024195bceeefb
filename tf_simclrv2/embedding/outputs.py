"""Writes one result as a page, as CSV, as JSON or as a list, as the extensions of the outputs say."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tensorflow as tf

from tf_simclrv2.errors import ConfigError
from tf_simclrv2.files import write_atomically
from tf_simclrv2.progress import Say
from tf_simclrv2.setting import as_path

EXTENSIONS = (".html", ".csv", ".json")
# Of a list of paths, for results that can be one.
LIST = ".txt"
# Makes a page that lies in the directory that it is given.
Page = Callable[[str], str]
Table = Iterable[Sequence[Any]]


@dataclasses.dataclass(frozen=True)
class Writers:
    """A result in every form.

    Attributes:
        page: HTML.
        table: Returns rows, the first of which has the names of the columns.
        values: What JSON holds.
        paths: Returns the lines of a list; None (the default) if the result is none.
    """

    page: Page
    table: Callable[[], Table]
    values: Any
    paths: Callable[[], Iterable[str]] | None = None

    def text(self, path: str) -> str:
        """Returns the content of an output file."""
        extension = os.path.splitext(path)[1].lower()
        if extension == ".html":
            return self.page(os.path.dirname(path))
        if extension == ".json":
            return json.dumps(self.values, indent=1, ensure_ascii=False) + "\n"
        if extension == LIST and self.paths is not None:
            return "".join(f"{line}\n" for line in self.paths())
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerows(self.table())
        return file.getvalue()


def check_outputs(outputs: Sequence[str], extensions: Sequence[str] = EXTENSIONS) -> None:
    """Refuses outputs that cannot be written.

    Args:
        outputs: The paths.
        extensions: What they may end in.

    Raises:
        ConfigError: The extension of one is unknown, or its folder does not exist.
    """
    for output in outputs:
        path = as_path("output", output)
        if os.path.splitext(path)[1].lower() not in extensions:
            raise ConfigError(f"output is {output!r}; its name ends in {', '.join(extensions)}.")
        folder = os.path.dirname(path)
        if folder and not tf.io.gfile.isdir(folder):
            raise ConfigError(
                f"output is {output!r}, but the folder {folder!r} does not exist; make it first."
            )


def exists(path: str) -> bool:
    """Returns whether there is a file, a folder or a broken link, on any filesystem that TensorFlow knows."""
    return tf.io.gfile.exists(path) if "://" in path else os.path.lexists(path)


def refuse_inputs(outputs: Sequence[str], inputs: Iterable[str]) -> None:
    """Refuses outputs that are inputs, which they would replace.

    Raises:
        ConfigError: One is.
    """
    read = {os.path.realpath(as_path("input", path)) for path in inputs}
    for output in outputs:
        if os.path.realpath(as_path("output", output)) in read:
            raise ConfigError(f"output is {output!r}, which is read too; choose another name.")


def write_outputs(outputs: Sequence[str], writers: Writers, say: Say) -> None:
    """Writes the outputs, replacing what is there, and says where.

    Raises:
        ConfigError: One cannot be written.
    """
    paths = [as_path("output", output) for output in outputs]
    texts = [writers.text(path) for path in paths]  # First, so that Ctrl-C leaves all or none.
    for output, path, text in zip(outputs, paths, texts, strict=True):
        try:
            write_atomically(path, text)
        except tf.errors.OpError as error:
            raise ConfigError(
                f"output is {output!r}, which cannot be written ({error.message}); choose another."
            ) from error
        say(f"written to {path}")
