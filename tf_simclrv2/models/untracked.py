"""A holder that keeps an attribute of a Keras object out of Keras's tracking."""

from __future__ import annotations

import dataclasses
from typing import Generic, TypeVar

_Value = TypeVar("_Value")


@dataclasses.dataclass(frozen=True)
class Untracked(Generic[_Value]):
    """Holds what a layer uses but does not own; Keras would otherwise count its variables as the layer's.

    Attributes:
        value: The object.
    """

    value: _Value
