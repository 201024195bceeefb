"""A flag for each setting of a config, made from its fields."""

from __future__ import annotations

from typing import Any

from absl import flags

from tf_simclrv2.config import AREAS
from tf_simclrv2.setting import Setting, settings_of

_DEFINE = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
}


def define() -> None:
    """Defines the flags; `--helpfull` shows those of an area together."""
    for area in AREAS:
        define_settings(AREAS[area], f"{area} settings")


def define_settings(config: type, section: str) -> None:
    """Defines a flag for each setting of a config dataclass that has one.

    Args:
        config: The dataclass.
        section: The heading of its flags in `--helpfull`.
    """
    for setting in settings_of(config).values():
        if setting.flag:
            _define(setting, section)


def values_in(config: type) -> dict[str, Any]:
    """Returns what the command line says of a config's settings, by the names of its fields."""
    return {name: value_of(setting) for name, setting in settings_of(config).items() if setting.flag}


def flagged(area: str) -> list[Setting]:
    """Returns the settings of an area of `ExperimentConfig` that have a flag."""
    return [setting for setting in settings_of(AREAS[area]).values() if setting.flag]


def value_of(setting: Setting) -> Any:
    """Returns the value that the command line gives to a setting."""
    value = flags.FLAGS[str(setting.flag)].value
    return tuple(value) if setting.kind is tuple else value


def _define(setting: Setting, section: str) -> None:
    name, default = setting.flag, None if setting.is_required else setting.default
    if setting.kind is tuple:
        flags.DEFINE_list(name, list(default), setting.text, module_name=section)
    elif setting.kind is str and setting.choices:
        # absl shows the choices of an enum by itself.
        flags.DEFINE_enum(name, default, list(setting.choices), setting.help, module_name=section)
    else:
        _DEFINE[setting.kind](name, default, setting.text, module_name=section)
