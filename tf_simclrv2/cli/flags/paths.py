"""Flags that hold a path."""

from __future__ import annotations

import os
from typing import Any

from absl import flags


class _PathParser(flags.ArgumentParser):
    """Replaces `~` by the home directory, as a shell does only at the beginning of a word."""

    syntactic_help = "a path"

    def parse(self, argument: str) -> str:
        return os.path.expanduser(argument)

    def flag_type(self) -> str:
        return "string"


def define_path(name: str, default: str | None, help: str, **options: Any) -> None:
    """Defines a flag that holds a path; arguments as of `flags.DEFINE_string`."""
    flags.DEFINE(_PathParser(), name, default, help, **options)
