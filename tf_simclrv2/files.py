"""Names of the files that one room writes and another reads, and how such files are written and read.

Paths may be on any filesystem that TensorFlow knows, such as `gs://`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

# In a model_dir: every setting, which images it was trained on, what made it.
CONFIG_FILE = "config.json"
IMAGES_FILE = "images.json"
VERSIONS_FILE = "versions.json"
# In a model_dir too: what was measured along the way, all of it and on the validation images.
METRICS_FILE = "metrics.jsonl"
VALIDATION_FILE = "validation.json"
# The folder of the best checkpoint in a model_dir, and the file there that says why it is the best.
BEST_FOLDER = "best"
BEST_FILE = "best.json"
# In a module: its architecture, preprocessing and endpoints.
DESCRIPTION_FILE = "simclr.json"
# In both: the class names, one a line, in the order of the labels.
CLASS_NAMES_FILE = "labels.txt"
# Ends the name of a file that is being written.
PART = ".part"


def write_atomically(path: str, content: str | bytes) -> None:
    """Writes a file so that a reader sees the old content or the new one, never a part of it.

    The content goes to `<path>.part`, which then replaces `path`. If the program is killed in between, the
    old file is still there, and the next call writes over the `.part`.

    Args:
        path: The file; its directory exists.
        content: All of it; text is written as UTF-8.

    Raises:
        tf.errors.OpError: The file cannot be written; the old one is unchanged.

    Example:
        >>> write_atomically("/tmp/run/notes.txt", "pretrained on digits")
    """
    with replacing(path) as part, tf.io.gfile.GFile(part, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)


def copy_atomically(source: str, path: str) -> None:
    """Copies a file as `write_atomically` writes one.

    Args:
        source: The file to copy.
        path: The copy; its directory exists.

    Raises:
        tf.errors.OpError: The file cannot be copied; an old one at `path` is unchanged.
    """
    with replacing(path) as part:
        tf.io.gfile.copy(source, part, overwrite=True)


@contextlib.contextmanager
def replacing(path: str) -> Iterator[str]:
    """Gives the path of a part, which replaces a file at the end and is removed after an error.

    For what writes a file itself, by its path; `write_atomically` takes the content.

    Args:
        path: The file; its directory exists.

    Example:
        >>> with replacing("pictures.npz.index") as part:
        ...     faiss.write_index(index, part)
    """
    part = f"{path}{PART}"
    try:
        yield part
        tf.io.gfile.rename(part, path, overwrite=True)
    except BaseException:
        with contextlib.suppress(tf.errors.OpError):
            tf.io.gfile.remove(part)
        raise


def write_json(path: str, values: dict[str, Any]) -> None:
    """Writes an object as indented JSON, as `write_atomically` does; other types become their text."""
    write_atomically(path, json.dumps(values, indent=2, default=str) + "\n")


def read_json(path: str) -> dict[str, Any]:
    """Reads the JSON object in a file.

    Raises:
        ValueError: The file is not UTF-8 text, not JSON, or its JSON is not an object.
        tf.errors.OpError: The file cannot be read; `NotFoundError` if there is none.
    """
    with tf.io.gfile.GFile(path) as file:
        values = json.load(file)
    if not isinstance(values, dict):
        raise ValueError(f"it holds a {type(values).__name__}, not an object in braces")
    return values
