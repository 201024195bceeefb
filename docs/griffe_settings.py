"""Shows the settings of a run in the reference, where mkdocstrings alone would read only the source."""

import inspect
import pathlib
import sys
from typing import Any

import griffe

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from tf_simclrv2 import config


class Settings(griffe.Extension):
    """Takes the docstrings of configs from the classes themselves."""

    def on_class_instance(self, *, cls: griffe.Class, **_: Any) -> None:
        if cls.module.path == "tf_simclrv2.config" and cls.docstring:
            cls.docstring.value = inspect.getdoc(getattr(config, cls.name))
