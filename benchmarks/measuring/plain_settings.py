"""Settings from JSON, for contenders too, which may have neither TensorFlow nor this package."""

from __future__ import annotations

from typing import Any, TypeVar

_Settings = TypeVar("_Settings")


def from_plain(kind: type[_Settings], plain: dict[str, Any]) -> _Settings:
    """Settings from `dataclasses.asdict` and JSON, whose lists are tuples."""
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()})
