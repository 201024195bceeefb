"""A job from a folder of pictures to a model; each option of `simclrv2 auto` is a field."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from tf_simclrv2.auto.budget import seconds_of
from tf_simclrv2.config import DataConfig
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.setting import check_settings, documented, required, setting

# How absl spells that a flag is on, with nothing behind its name among them.
_TRUE = ("", "true", "t", "1")


@documented
@dataclasses.dataclass(frozen=True)
class AutoConfig:
    """A job.

    Raises:
        ConfigError: The budget is not a time, or too short; a path is missing.
    """

    data_dir: str = required(
        "The pictures: a folder of them, of class folders, or of train and test.", is_path=True
    )
    output: str | None = setting(
        None,
        "The folder of the job; a job that was stopped continues in it. By default runs/auto_NAME.",
        is_path=True,
    )
    budget: str = setting("2h", "The time that it may take, such as 90m.")
    labels_from: str | None = setting(
        None,
        "A CSV file with path and label; by default the labels are those of class folders.",
        is_path=True,
    )
    dry_run: bool = setting(False, "Measure and print the commands; write only what they read.")
    flags: tuple[str, ...] = setting((), "Further flags for every training.", flag=None)

    def __post_init__(self) -> None:
        check_settings(self)
        seconds_of(self.budget)
        for name in ("data_dir", "output"):
            if getattr(self, name) == "":
                raise ConfigError(f"{name} is empty; pass --{name}=DIR.")
        if "://" in self.folder:
            raise ConfigError(
                f"output is {self.folder!r}, but auto sorts pictures into folders with links, which only a "
                "local disk supports; choose a folder on this machine."
            )

        train = os.path.join(self.data_dir, "train")
        pictures = os.path.realpath(train if os.path.isdir(train) else self.data_dir)
        if os.path.commonpath([os.path.realpath(self.folder), pictures]) == pictures:
            raise ConfigError(
                f"output is {self.folder!r}, which is among the pictures; choose a folder outside of them."
            )

    @property
    def folder(self) -> str:
        """The folder of the job."""
        return self.output or os.path.join("runs", f"auto_{os.path.basename(os.path.abspath(self.data_dir))}")

    @property
    def ignores_empty_classes(self) -> bool:
        """Whether the trainings ignore empty class folders, as listing the pictures then does too."""
        return self._flag("ignore_empty_classes", "false").lower() in _TRUE

    @property
    def max_skipped_fraction(self) -> float:
        """The share of the pictures that may be unreadable in a training."""
        try:
            return float(self._flag("max_skipped_fraction", str(DataConfig.max_skipped_fraction)))
        except ValueError:  # The trial, which comes first, refuses it in a sentence.
            return DataConfig.max_skipped_fraction

    def _flag(self, name: str, default: str) -> str:
        return dict(word.lstrip("-").partition("=")[::2] for word in self.flags).get(name, default)

    @property
    def identity(self) -> dict[str, Any]:
        """What may not change when a job continues."""
        labels = self.labels_from and os.path.abspath(self.labels_from)
        return {"data_dir": os.path.abspath(self.data_dir), "labels_from": labels, "flags": [*self.flags]}
