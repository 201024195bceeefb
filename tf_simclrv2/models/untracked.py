"""A place in a Keras object that Keras does not look into."""

from __future__ import annotations

import dataclasses
from typing import Generic, TypeVar

_Value = TypeVar("_Value")


@dataclasses.dataclass(frozen=True)
class Untracked(Generic[_Value]):
    """Holds what a layer uses but does not own, whose variables Keras would count as the layer's.

    Attributes:
        value: What is held.
    """

    value: _Value
