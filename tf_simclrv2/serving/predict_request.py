"""From the body of a predict request to the tensors of a signature."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import orjson
import tensorflow as tf

from tf_simclrv2.serving.image_headers import num_pixels
from tf_simclrv2.serving.json_tensors import is_base64, tensor_of
from tf_simclrv2.serving.refusal import Refusal
from tf_simclrv2.serving.served_model import ModelVersion
from tf_simclrv2.serving.signature import Signature, Tensors

ROWS, COLUMNS = "instances", "inputs"


@dataclasses.dataclass(frozen=True)
class RequestLimits:
    """What a request may ask for.

    Attributes:
        max_images: Most examples.
        max_pixels: Most pixels of an image file.
    """

    max_images: int
    max_pixels: int


@dataclasses.dataclass(frozen=True)
class PredictRequest:
    """What a client wants computed.

    Attributes:
        signature: The function.
        inputs: Its tensors by name.
        by_rows: Whether the answer has an entry for each example (`instances`), or one for each output
            (`inputs`).
    """

    signature: Signature
    inputs: Tensors
    by_rows: bool


def parse_request(body: bytes, version: ModelVersion, limits: RequestLimits) -> PredictRequest:
    """Reads a predict request.

    Args:
        body: JSON with `instances` or `inputs`, and with `signature_name` unless it is `serving_default`.
        version: The model that is asked.
        limits: What is refused, however well-formed.

    Raises:
        Refusal: The body is not such a request, or goes beyond a limit.

    Example:
        >>> parse_request(b'{"instances": [[0.5], [1.0]]}', version, RequestLimits(256, 50_000_000)).inputs
        {'x': array([[0.5], [1. ]], dtype=float32)}
    """
    document = _json_object(body)
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise Refusal("signature_name is not text; send the name of a signature.")
    signature = version.signature(name)
    by_rows = ROWS in document
    if by_rows == (COLUMNS in document):
        has = f"both {ROWS} and {COLUMNS}" if by_rows else f"neither {ROWS} nor {COLUMNS}"
        raise Refusal(f"the request has {has}; send one of them.")
    values = _of_rows(document[ROWS], signature) if by_rows else _of_columns(document[COLUMNS], signature)
    for name, value in values.items():
        if isinstance(value, list) and len(value) > limits.max_images:
            raise Refusal(
                f"{name} holds {len(value)} examples; send at most {limits.max_images} in a request."
            )
    inputs = {name: tensor_of(name, value, signature.inputs[name]) for name, value in values.items()}
    _check_pixels(inputs, signature, limits.max_pixels)
    return PredictRequest(signature, inputs, by_rows)


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        hint = "; NaN and Infinity are not numbers of JSON" if b"NaN" in body or b"Infinity" in body else ""
        raise Refusal(f"the body is not JSON ({error}){hint}.") from error
    if not isinstance(document, dict):
        raise Refusal(f"the body is JSON, but not an object in braces; send one with {ROWS} or {COLUMNS}.")
    return document


def _of_rows(rows: Any, signature: Signature) -> dict[str, Any]:
    if not isinstance(rows, list) or not rows:
        raise Refusal(f"{ROWS} is not a list of at least one example.")
    is_named = isinstance(rows[0], dict) and not is_base64(rows[0])
    if len(signature.inputs) == 1 and not is_named:
        return dict.fromkeys(signature.inputs, rows)
    for position, row in enumerate(rows):
        _check_names(f"{ROWS}[{position}]", row, signature)
    return {name: [row[name] for row in rows] for name in signature.inputs}


def _of_columns(columns: Any, signature: Signature) -> dict[str, Any]:
    is_named = isinstance(columns, dict) and not is_base64(columns)
    if len(signature.inputs) == 1 and not is_named:
        return dict.fromkeys(signature.inputs, columns)
    _check_names(COLUMNS, columns, signature)
    return columns


def _check_names(where: str, value: Any, signature: Signature) -> None:
    takes = f"signature {signature.name} takes {', '.join(signature.inputs)}"
    if not isinstance(value, dict):
        raise Refusal(f"{where} is not an object with names; {takes}.")
    for name in signature.inputs.keys() - value.keys():
        raise Refusal(f"{where} lacks {name!r}; {takes}.")
    for name in value.keys() - signature.inputs.keys():
        raise Refusal(f"{where} has {name!r}, which is not an input; {takes}.")


def _check_pixels(inputs: Mapping[str, Any], signature: Signature, most: int) -> None:
    for name, strings in inputs.items():
        if signature.inputs[name].dtype != tf.string:
            continue
        for position, contents in enumerate(strings.ravel().tolist()):
            if (pixels := num_pixels(contents)) > most:
                raise Refusal(f"image {position} of {name} has {pixels} pixels; send at most {most}.")
