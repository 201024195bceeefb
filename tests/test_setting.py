"""A setting: its limits are checked, its text says them, and they come from one field."""

from __future__ import annotations

import dataclasses
import inspect
import os
import pathlib
from typing import Literal

import pytest

from tests.configs import EVERY_CONFIG, OF_PROGRAMS
from tf_simclrv2.config import AREAS
from tf_simclrv2.embedding.selection import STRATEGIES
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.setting import Setting, as_path, check_settings, documented, setting, settings_of

EVERY_SETTING = [found for config in EVERY_CONFIG.values() for found in settings_of(config).values()]


def limited(found: Setting) -> bool:
    return bool(found.choices or found.limits)


@documented
@dataclasses.dataclass(frozen=True)
class Example:
    """An example."""

    rate: float = setting(0.5, "A rate.", above=0, maximum=1)
    size: int = setting(0, "A size, in pixels.", minimum=0, zero_is_off=True)
    ratio: float = setting(0.0, "A ratio.", minimum=0, maximum=1, zero_is_off=True)
    decay: float = setting(0.9, "A decay.", minimum=0, below=1)
    heat: float = setting(1.0, "A temperature.", above=0)
    steps: int = setting(0, "Steps; 0 takes all.", minimum=0)
    mode: Literal["a", "b"] = setting("a", "A mode.")
    depth: int = setting(18, "A depth.", choices=(18, 34))
    kinds: tuple[str, ...] = setting(("x",), "Some kinds.", choices=("x", "y"), flag="some_kinds")
    path: str | None = setting(None, "A path; by default none.", is_path=True)
    derived: bool = setting(False, "Follows from the data.", flag=None)

    def __post_init__(self) -> None:
        check_settings(self)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"rate": 0.0}, "rate is 0.0; it must be above 0 and at most 1."),
        ({"rate": float("nan")}, "rate is nan; it must be above 0 and at most 1."),
        ({"size": -1}, "size is -1; it must be a finite number of at least 0 (off)."),
        ({"ratio": 1.5}, "ratio is 1.5; it must be between 0 (off) and 1."),
        ({"decay": 1.0}, "decay is 1.0; it must be at least 0 and below 1."),
        ({"heat": float("inf")}, "heat is inf; it must be a finite number above 0."),
        ({"mode": "c"}, "mode is 'c'; choose one of a, b."),
        ({"depth": 50}, "depth is 50; choose one of 18, 34."),
        ({"kinds": ("x", "z")}, "some_kinds is 'z'; choose one of x, y."),
    ],
)
def test_values_outside_the_limits(values: dict, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        Example(**values)
    assert str(error.value) == message


@pytest.mark.parametrize(
    "values",
    [{"rate": 1.0}, {"ratio": 0.0}, {"ratio": 1.0}, {"decay": 0.0}, {"mode": "b"}, {"kinds": ("y", "x")}],
)
def test_values_at_the_limits(values: dict) -> None:
    (name,) = values
    assert getattr(Example(**values), name) == values[name]


@pytest.mark.parametrize(
    "name, kind, flag, text",
    [
        ("rate", float, "rate", "A rate. Above 0 and at most 1."),
        ("size", int, "size", "A size, in pixels. 0 turns it off."),
        ("ratio", float, "ratio", "A ratio. Between 0 (off) and 1."),
        ("steps", int, "steps", "Steps; 0 takes all."),
        ("mode", str, "mode", "A mode. One of a, b."),
        ("kinds", tuple, "some_kinds", "Some kinds. Any of x, y."),
        ("path", str, "path", "A path; by default none."),
        ("derived", bool, None, "Follows from the data."),
    ],
)
def test_what_a_field_says(name: str, kind: type, flag: str | None, text: str) -> None:
    found = settings_of(Example)[name]
    assert (found.kind, found.flag, found.text) == (kind, flag, text)


def test_attributes_are_documented() -> None:
    lines = (inspect.getdoc(Example) or "").splitlines()
    assert lines[:4] == [
        "An example.",
        "",
        "Attributes:",
        "    rate: A rate. Above 0 and at most 1. Default: 0.5.",
    ]
    assert len(lines) == 3 + len(dataclasses.fields(Example))


def test_an_unknown_limit_is_an_error() -> None:
    class Wrong:
        size: int = setting(0, "A size.", smallest=0)

    with pytest.raises(TypeError, match="smallest"):
        settings_of(dataclasses.dataclass(Wrong))


@pytest.mark.parametrize("name", EVERY_CONFIG)
def test_every_config_documents_its_settings(name: str) -> None:
    config = EVERY_CONFIG[name]
    named = [line.split(":")[0] for line in (inspect.getdoc(config) or "").splitlines() if ": " in line]
    assert {f"    {setting}" for setting in settings_of(config)} <= set(named)


# What else a config needs before its other settings are looked at.
NEEDED = {
    "convert": {"input": "runs/a", "output": "new"},
    "duplicates": {"embeddings": ("a.npz",)},
    "embed": {"network": "runs/a", "output": "new.npz"},
    "export": {"model_dir": "runs/a", "output": "new"},
    "rehearse": {"tpu": "v5e-8"},
    "search": {"embeddings": "a.npz", "queries": ("b.png",)},
    "select": {"embeddings": "a.npz", "output": "new.csv", "budget": 1},
    "serve": {"module": "module"},
}


@pytest.mark.parametrize(
    "name", [name for name, config in OF_PROGRAMS.items() if any(map(limited, settings_of(config).values()))]
)
def test_every_program_checks_its_settings(name: str) -> None:
    for found in filter(limited, settings_of(OF_PROGRAMS[name]).values()):
        bad = -7 if found.kind in (int, float) else "no such"
        with pytest.raises(ConfigError, match=f"^{found.flag or found.name} is "):
            OF_PROGRAMS[name](**{**NEEDED.get(name, {}), found.name: bad})


def test_the_ways_to_choose_are_those_that_there_are() -> None:
    assert settings_of(OF_PROGRAMS["select"])["strategy"].choices == tuple(STRATEGIES)


@pytest.mark.parametrize("area", AREAS)
def test_every_area_checks_its_settings(area: str) -> None:
    checked = list(filter(limited, settings_of(AREAS[area]).values()))
    assert checked
    for found in checked:
        bad = ("no such",) if found.kind is tuple else -7 if found.kind in (int, float) else "no such"
        with pytest.raises(ConfigError, match=f"^{found.flag or found.name} is "):
            AREAS[area](**{found.name: bad})


@pytest.mark.parametrize("found", EVERY_SETTING, ids=lambda found: found.name)
def test_every_setting_has_help(found: Setting) -> None:
    assert found.help[0].isupper() or found.help.startswith("tf.")
    assert found.help.endswith(".")
    # Its name alone, said again, is no help.
    assert len(found.help.split()) >= 3
    if not found.is_required:
        found.check(found.default)


def test_a_path_is_text_with_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert Example(path="~/runs/a").path == "/home/ada/runs/a"
    assert Example(path=pathlib.Path("runs/a")).path == "runs/a"  # type: ignore[arg-type]
    for path in ("gs://bucket/~/a", "./~", "a~", "", "lr=[0.1] *?#\n", "~nobody-of-this-name/a"):
        assert as_path("path", path) == path
    assert dataclasses.replace(Example(path="~/a"), rate=0.1).path == "/home/ada/a"


def test_a_path_that_is_not_utf8_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"^path is b'runs/caf\\xe9', which is not UTF-8; rename it\.$"):
        Example(path=os.fsdecode(b"runs/caf\xe9"))
