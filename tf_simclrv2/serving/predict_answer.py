"""From a signature's outputs to the body of the answer."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson

from tf_simclrv2.serving.json_tensors import is_finite, json_array_of
from tf_simclrv2.serving.refusal import Refusal
from tf_simclrv2.serving.signature import Tensors


def answer_of(outputs: Tensors, by_rows: bool) -> bytes:
    """Writes an answer: `predictions` with an entry for each example, or `outputs` with one for each output.

    The name of an only output is left out. NaN and infinities, which JSON does not have, are written as
    JavaScript and Python do, and as TensorFlow Serving does.

    Args:
        outputs: By name.
        by_rows: Whether the request named its examples one by one.

    Raises:
        Refusal: An output does not have an entry for each example, or JSON has no form for it.

    Example:
        >>> answer_of({"logits": np.float32([[0.5, 2.0]])}, by_rows=True)
        b'{"predictions":[[0.5,2.0]]}'
    """
    arrays = {name: json_array_of(name, tensor) for name, tensor in outputs.items()}
    document = {"predictions": _rows(arrays)} if by_rows else {"outputs": _columns(arrays)}
    if all(map(is_finite, outputs.values())):
        return orjson.dumps(document, default=_plain, option=orjson.OPT_SERIALIZE_NUMPY)
    return json.dumps(document, default=_plain, separators=(",", ":")).encode()


def _rows(arrays: dict[str, np.ndarray]) -> Any:
    lengths = {array.shape[0] if array.ndim else None for array in arrays.values()}
    if len(lengths) != 1 or None in lengths:
        raise Refusal("the outputs differ in length, so they have no rows; send inputs, not instances.")
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    return [{name: array[row] for name, array in arrays.items()} for row in range(lengths.pop())]


def _columns(arrays: dict[str, np.ndarray]) -> Any:
    return next(iter(arrays.values())) if len(arrays) == 1 else arrays


def _plain(value: np.ndarray | np.generic) -> Any:
    return value.tolist()
