"""A setting of a run: its name, type, default, limits and help, all stated in one dataclass field.

The flags, the checks and the reference are made from what `settings_of` returns.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import os
import textwrap
import typing
from typing import Any, Literal, TypeVar

from tf_simclrv2.errors import ConfigError

_T = TypeVar("_T")
_DOCSTRING_WIDTH = 100


def setting(default: _T, help: str, **options: Any) -> _T:
    """Declares a field of a config dataclass.

    Args:
        default: The field's default.
        help: What the setting does, with units, and what its default means.
        **options: Limits and flag, by the names that `Setting` has for them.

    Returns:
        A dataclass field; type checkers see the default.

    Example:
        >>> image_size: int = setting(224, "Side of the input images, in pixels.", minimum=8)
    """
    return dataclasses.field(default=default, metadata={"help": help, **options})


def required(help: str, **options: Any) -> Any:
    """Declares a field of a config dataclass that has no default.

    Args:
        help: What the setting does, with units.
        **options: Limits and flag, by the names that `Setting` has for them.

    Returns:
        A dataclass field.

    Example:
        >>> output: str = required("The directory to write.", is_path=True)
    """
    return dataclasses.field(metadata={"help": help, **options})


@dataclasses.dataclass(frozen=True)
class Setting:
    """One field of a config dataclass.

    Attributes:
        name: The field's name.
        kind: `bool`, `int`, `float`, `str` or `tuple` (of strings).
        default: The field's default; `dataclasses.MISSING` if it is required.
        help: What it does, without the limits.
        flag: Name of its flag, by default the field's; None if no flag sets it.
        choices: Allowed values, or allowed elements of a tuple; by default those of a `Literal`. Empty allows
            all.
        minimum: Smallest allowed number.
        above: All allowed numbers are larger than this.
        maximum: Largest allowed number.
        below: All allowed numbers are smaller than this.
        zero_is_off: Whether the minimum, 0, turns off what the setting is about.
        is_path: Whether it is a path; see `as_path`.
        absent: Its value in configs that lack it because they are older than the setting; by default, and
            where this is None, the default.
    """

    name: str
    kind: type
    default: Any
    help: str
    flag: str | None
    choices: tuple = ()
    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    below: float | None = None
    zero_is_off: bool = False
    is_path: bool = False
    absent: Any = None

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.default is dataclasses.MISSING

    @property
    def limits(self) -> str:
        """The numeric limits in words, for example `at least 0 and below 1`; empty if there are none."""
        lowest = "0 (off)" if self.zero_is_off else self.minimum
        if self.minimum is not None and self.maximum is not None:
            return f"between {lowest} and {self.maximum}"
        limits = {"at least": lowest, "above": self.above, "at most": self.maximum, "below": self.below}
        return " and ".join(f"{word} {limit}" for word, limit in limits.items() if limit is not None)

    @property
    def text(self) -> str:
        """The help, followed by the limits."""
        if self.choices:
            limits = f"{'Any' if self.kind is tuple else 'One'} of {_listed(self.choices)}"
        elif self.zero_is_off and self.maximum is None:
            limits = "0 turns it off"
        else:
            limits = "" if self.limits == "at least 0" else self.limits.capitalize()
        return f"{self.help} {limits}." if limits else self.help

    def check(self, value: Any) -> None:
        """Raises a ConfigError if the value is outside the limits."""
        name = self.flag or self.name
        if self.choices:
            for item in value if self.kind is tuple else (value,):
                if item not in self.choices:
                    raise ConfigError(f"{name} is {item!r}; choose one of {_listed(self.choices)}.")
        if self.limits and not self._holds(value):
            has_upper_limit = self.maximum is not None or self.below is not None
            of = "of " if self.minimum is not None else ""
            number = "" if has_upper_limit else f"a finite number {of}"
            raise ConfigError(f"{name} is {value!r}; it must be {number}{self.limits}.")

    def _holds(self, value: float) -> bool:
        return (
            math.isfinite(value)
            and (self.minimum is None or value >= self.minimum)
            and (self.above is None or value > self.above)
            and (self.maximum is None or value <= self.maximum)
            and (self.below is None or value < self.below)
        )


@functools.cache
def settings_of(config: type) -> dict[str, Setting]:
    """Returns the settings of a config dataclass by the names of its fields, in their order."""
    hints = typing.get_type_hints(config)
    return {field.name: _setting(field, hints[field.name]) for field in dataclasses.fields(config)}


def check_settings(config: Any) -> None:
    """Checks each setting of a config by itself, and replaces `~` in its paths.

    Raises:
        ConfigError: A value is outside its setting's limits, or a path is not UTF-8.
    """
    for name, setting in settings_of(type(config)).items():
        if setting.is_path and getattr(config, name) is not None:
            set_path(config, name)
        setting.check(getattr(config, name))


def set_path(config: Any, name: str) -> None:
    """Replaces the path in a field of a frozen dataclass by what `as_path` makes of it."""
    object.__setattr__(config, name, as_path(name, getattr(config, name)))


def as_path(name: str, value: str | os.PathLike[str]) -> str:
    """Returns a path that a user gave as text, with the home directory for a `~` at its beginning.

    Args:
        name: Of the setting or the flag, for the message.
        value: The path; it may have any other characters.

    Raises:
        ConfigError: It is not UTF-8, and TensorFlow takes no other paths.

    Example:
        >>> as_path("model_dir", "~/runs/digits")
        '/home/ada/runs/digits'
    """
    path = os.path.expanduser(os.fspath(value))
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{name} is {os.fsencode(path)!r}, which is not UTF-8; rename it.") from error
    return path


def documented(config: type[_T]) -> type[_T]:
    """Adds the section `Attributes:` to a config dataclass's docstring."""
    lines = [
        textwrap.fill(
            f"{name}: {setting.text}" + ("" if setting.is_required else f" Default: {setting.default!r}."),
            _DOCSTRING_WIDTH,
            initial_indent=" " * 4,
            subsequent_indent=" " * 8,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for name, setting in settings_of(config).items()
    ]
    config.__doc__ = "\n".join([inspect.cleandoc(config.__doc__ or ""), "", "Attributes:", *lines])
    return config


def _setting(field: dataclasses.Field, hint: Any) -> Setting:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    options: dict[str, Any] = {"flag": field.name}
    if origin is Literal:
        kind, options["choices"] = type(arguments[0]), arguments
    else:
        # `str | None` is a string that may be missing.
        kind = tuple if origin is tuple else arguments[0] if arguments else hint
    return Setting(name=field.name, kind=kind, default=field.default, **{**options, **field.metadata})


def _listed(choices: tuple) -> str:
    return ", ".join(map(str, choices))
