"""Tensors as JSON values: TensorFlow Serving's mapping, both ways.

Numbers, true and false stand for themselves. A string is text, or `{"b64": "…"}` where it is binary.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclrv2.serving.refusal import Refusal

_BASE64 = "b64"
# Outputs with this ending are binary, whatever is in them.
_BINARY_ENDING = "_bytes"
_IN_WORDS = {
    bool: "true or false",
    dict: "an object",
    float: "fractions",
    int: "whole numbers",
    list: "lists of different lengths",
    str: "text",
    type(None): "null",
}


def is_base64(value: Any) -> bool:
    """Returns whether a JSON value is a binary string, not an object with names of tensors."""
    return isinstance(value, dict) and value.keys() == {_BASE64}


def tensor_of(name: str, value: Any, spec: tf.TensorSpec) -> np.ndarray:
    """Makes a tensor of a JSON value.

    Args:
        name: Of the input, for messages.
        value: A number, a string, true or false, or nested lists of them.
        spec: The dtype and shape that the signature takes.

    Raises:
        Refusal: The value has another type or shape, or a number is not finite or does not fit the dtype.

    Example:
        >>> tensor_of("x", [[1, 2.5]], tf.TensorSpec([None, 2], tf.float32))
        array([[1. , 2.5]], dtype=float32)
    """
    # As objects, for NumPy would make text of numbers and numbers of true, and ragged lists stay lists.
    elements = np.asarray(value, dtype=object)
    flat = elements.ravel().tolist()
    if not flat:
        raise Refusal(f"{name} is empty; send at least one example.")
    _check_types(name, flat, spec.dtype)
    if not spec.shape.is_compatible_with(elements.shape):
        raise Refusal(
            f"{name} has the shape {list(elements.shape)}; send {_shape_in_words(spec.shape)}, where ? is "
            "any number."
        )
    if spec.dtype == tf.string:
        strings = np.empty(len(flat), dtype=object)
        strings[:] = [_string_of(name, element) for element in flat]
        return strings.reshape(elements.shape)
    del flat  # As large as the elements.
    return _numbers_of(name, elements, spec.dtype)


def _check_types(name: str, flat: list, dtype: tf.DType) -> None:
    if dtype == tf.string:
        allowed, needed = {str, dict}, 'text, or {"b64": …} for a file'
    elif dtype == tf.bool:
        allowed, needed = {bool}, "true or false"
    elif dtype.is_integer:
        allowed, needed = {int}, "whole numbers"
    elif dtype.is_floating:
        allowed, needed = {int, float}, "numbers"
    else:
        raise Refusal(f"{name} is of type {dtype.name}, which JSON cannot represent; use another signature.")
    wrong = sorted(_IN_WORDS[kind] for kind in set(map(type, flat)) - allowed)
    if wrong:
        raise Refusal(f"{name} holds {' and '.join(wrong)}; send {needed}, in lists of equal lengths.")


def _numbers_of(name: str, elements: np.ndarray, dtype: tf.DType) -> np.ndarray:
    if dtype.is_integer and not (dtype.min <= elements.min() and elements.max() <= dtype.max):
        raise Refusal(
            f"{name} holds a number that does not fit {dtype.name}; send {dtype.min} to {dtype.max}."
        )
    if not dtype.is_floating:
        return elements.astype(dtype.as_numpy_dtype)
    with np.errstate(over="ignore"):
        numbers = elements.astype(np.float64).astype(dtype.as_numpy_dtype)
    if not np.isfinite(numbers).all():
        raise Refusal(f"{name} holds a number that does not fit {dtype.name}; send finite ones.")
    return numbers


def _string_of(name: str, element: str | dict) -> bytes:
    if isinstance(element, str):
        return element.encode()
    text = element.get(_BASE64)
    if not is_base64(element) or not isinstance(text, str):
        raise Refusal(f'{name} holds an object that is not {{"b64": …}}; send files in this form.')
    text = "".join(text.split())
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal(f"{name} holds b64 that is not base64 ({error}); encode the file again.") from error


def _shape_in_words(shape: tf.TensorShape) -> str:
    return f"[{', '.join('?' if size is None else str(size) for size in shape)}]"


def is_finite(tensor: np.ndarray) -> bool:
    """Returns whether every number of a tensor is one in JSON."""
    return not np.issubdtype(tensor.dtype, np.floating) or bool(np.isfinite(tensor).all())


def json_array_of(name: str, tensor: np.ndarray) -> np.ndarray:
    """Makes of a tensor an array whose elements are JSON values.

    Args:
        name: Of the output; the ending `_bytes` says that its strings are binary.
        tensor: Of any dtype and shape.

    Returns:
        An array of the same shape.

    Raises:
        Refusal: JSON has no form for the dtype.
    """
    if tensor.dtype == object:
        values = np.empty(tensor.size, dtype=object)
        values[:] = [_json_string(name, string) for string in tensor.ravel().tolist()]
        return values.reshape(tensor.shape)
    if tensor.dtype.kind in "biuf" and tensor.dtype != np.float16:
        return tensor
    if np.can_cast(tensor.dtype, np.float32):
        return tensor.astype(np.float32)
    raise Refusal(f"{name} is of type {tensor.dtype}, which JSON cannot represent; use another signature.")


def _json_string(name: str, string: bytes) -> str | dict[str, str]:
    if name.endswith(_BINARY_ENDING):
        return {_BASE64: base64.b64encode(string).decode()}
    return string.decode(errors="replace")
