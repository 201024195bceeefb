"""A model in memory: its versions, with their signatures and what a client may know of them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from tf_simclrv2.errors import ExportError
from tf_simclrv2.literal_path import literal_path
from tf_simclrv2.serving.module_versions import GRAPH_FILE, ModuleVersions
from tf_simclrv2.serving.refusal import NOT_FOUND, Refusal
from tf_simclrv2.serving.serve_config import check_name
from tf_simclrv2.serving.signature import Signature

DEFAULT_SIGNATURE = "serving_default"


@dataclasses.dataclass(frozen=True)
class ModelVersion:
    """A loaded SavedModel.

    Attributes:
        number: Its version.
        module: What was loaded; it owns the variables that the signatures read.
        signatures: By name.
        signature_defs: The same as TensorFlow Serving describes them: the protocol buffers as JSON.
    """

    number: int
    module: Any
    signatures: Mapping[str, Signature]
    signature_defs: Mapping[str, Any]

    def signature(self, name: str) -> Signature:
        """Returns a signature; the empty name stands for `serving_default`.

        Raises:
            Refusal: There is none of that name.
        """
        name = name or DEFAULT_SIGNATURE
        if name not in self.signatures:
            raise Refusal(
                f"signature_name is {name!r}, but version {self.number} has {', '.join(self.signatures)}."
            )
        return self.signatures[name]


@dataclasses.dataclass(frozen=True)
class ServedModel:
    """All versions of a model.

    Attributes:
        name: Its name in addresses.
        versions: By number, in ascending order.
    """

    name: str
    versions: Mapping[int, ModelVersion]

    def version(self, number: int | None = None) -> ModelVersion:
        """Returns a version; None (the default) stands for the newest.

        Raises:
            Refusal: There is none of that number.
        """
        if number is None:
            number = max(self.versions)
        if number not in self.versions:
            known = ", ".join(map(str, self.versions))
            raise Refusal(f"version {number} of {self.name!r} is not served; use {known}.", NOT_FOUND)
        return self.versions[number]


def load_model(found: ModuleVersions, name: str | None = None) -> ServedModel:
    """Loads every version of a model.

    Args:
        found: Where the versions are.
        name: Its name in addresses; None (the default) takes that of the folder.

    Raises:
        ConfigError: The folder's name cannot be part of an address.
        ExportError: A version cannot be loaded or has no signatures.
    """
    name = name or found.name
    check_name(name)
    versions = {number: _load(number, path) for number, path in found.paths.items()}
    return ServedModel(name, versions)


def _load(number: int, path: str) -> ModelVersion:
    try:
        module = tf.saved_model.load(literal_path(path))
        definitions = _signature_defs(path)
    except (DecodeError, OSError, RuntimeError, ValueError, tf.errors.OpError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise ExportError(f"module {path!r} cannot be loaded ({reason}); export it again.") from error
    signatures = {name: Signature(name, function) for name, function in module.signatures.items()}
    if not signatures:
        raise ExportError(f"module {path!r} has no signatures to serve; make one with simclrv2 export.")
    return ModelVersion(number, module, signatures, definitions)


def _signature_defs(path: str) -> dict[str, Any]:
    with tf.io.gfile.GFile(os.path.join(path, GRAPH_FILE), "rb") as file:
        graph = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs[0]
    return {
        name: MessageToDict(
            definition, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        for name, definition in graph.signature_def.items()
    }
