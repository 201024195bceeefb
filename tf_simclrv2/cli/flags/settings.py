"""A flag for each setting of a run, made from the fields of its config."""

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
        for setting in flagged(area):
            _define(setting, f"{area} settings")


def flagged(area: str) -> list[Setting]:
    """Returns the settings of an area of `ExperimentConfig` that have a flag."""
    return [setting for setting in settings_of(AREAS[area]).values() if setting.flag]


def value_of(setting: Setting) -> Any:
    """Returns the value that the command line gives to a setting."""
    value = flags.FLAGS[str(setting.flag)].value
    return tuple(value) if setting.kind is tuple else value


def _define(setting: Setting, section: str) -> None:
    name, default = setting.flag, setting.default
    if setting.kind is tuple:
        flags.DEFINE_list(name, list(default), setting.text, module_name=section)
    elif setting.kind is str and setting.choices:
        # absl shows the choices of an enum by itself.
        flags.DEFINE_enum(name, default, list(setting.choices), setting.help, module_name=section)
    else:
        _DEFINE[setting.kind](name, default, setting.text, module_name=section)
