"""Finds the versions of a model on disk: a SavedModel, or TensorFlow Serving's folder of numbered ones."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Mapping

import tensorflow as tf

from tf_simclrv2.errors import ExportError
from tf_simclrv2.modules.module_archive import ARCHIVE_SUFFIX, unpack_module

GRAPH_FILE = "saved_model.pb"


@dataclasses.dataclass(frozen=True)
class ModuleVersions:
    """A model's SavedModels.

    Attributes:
        name: The folder's name.
        paths: Directories by version, in ascending order; at least one.
    """

    name: str
    paths: Mapping[int, str]


def find_versions(path: str, unpacked: str | None = None) -> ModuleVersions:
    """Finds what can be served.

    Args:
        path: A SavedModel, whose version is the folder's name if that is a number, else 1; or a folder of
            SavedModels with numbers for names; or a `.tar.gz`. On any filesystem that TensorFlow knows.
        unpacked: An empty directory for the files of a `.tar.gz`; None (the default) makes one, which lasts.

    Raises:
        ExportError: There is no SavedModel.

    Example:
        >>> find_versions("bundle/digits")
        ModuleVersions(name='digits', paths={1: 'bundle/digits/1', 2: 'bundle/digits/2'})
    """
    path = path if "://" in path else os.path.abspath(path)
    parent, name = os.path.split(path.rstrip("/"))
    if path.endswith(ARCHIVE_SUFFIX) and not _is_saved_model(path):
        directory = unpacked or tempfile.mkdtemp()
        unpack_module(path, directory)
        if not _is_saved_model(directory):
            raise _no_module(path)
        return ModuleVersions(name.removesuffix(ARCHIVE_SUFFIX), {1: directory})
    if _is_saved_model(path):
        if _is_version(name):
            return ModuleVersions(os.path.basename(parent), {int(name): path})
        return ModuleVersions(name, {1: path})
    numbers = sorted(int(entry) for entry in _entries(path) if _is_version(entry))
    paths = {number: os.path.join(path, str(number)) for number in numbers}
    paths = {number: path for number, path in paths.items() if _is_saved_model(path)}
    if not paths:
        raise _no_module(path)
    return ModuleVersions(name, paths)


def _is_saved_model(path: str) -> bool:
    return tf.io.gfile.exists(os.path.join(path, GRAPH_FILE))


def _is_version(name: str) -> bool:
    # As int() writes it, for that is how a path is made of the number.
    return name.isascii() and name.isdigit() and name == str(int(name))


def _entries(path: str) -> list[str]:
    if not tf.io.gfile.isdir(path):
        return []
    return [entry.rstrip("/") for entry in tf.io.gfile.listdir(path)]


def _no_module(path: str) -> ExportError:
    inside = [name for name in sorted(_entries(path)) if _holds_versions(os.path.join(path, name))]
    if inside:
        cure = f"serve one of the models in it, for example {os.path.join(path, inside[0])}."
    else:
        cure = "make one with simclrv2 export."
    what = "neither a SavedModel nor a folder of its versions"
    return ExportError(f"module is {path!r}, which is {what}; {cure}")


def _holds_versions(path: str) -> bool:
    return _is_saved_model(path) or any(
        _is_version(name) and _is_saved_model(os.path.join(path, name)) for name in _entries(path)
    )
