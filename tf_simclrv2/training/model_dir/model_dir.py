"""A run's directory: config, flags, results, exported models."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.data import Source
from tf_simclrv2.errors import CheckpointError, ConfigError
from tf_simclrv2.files import (
    BEST_FILE,
    CLASS_NAMES_FILE,
    CONFIG_FILE,
    IMAGES_FILE,
    read_json,
    write_atomically,
)
from tf_simclrv2.training.model_dir.run_identity import changed_settings, free_changes, with_start
from tf_simclrv2.training.model_dir.training_images import TrainingImages, changes, from_plain, to_plain
from tf_simclrv2.training.model_dir.verified_checkpoints import checkpoint_steps
from tf_simclrv2.weights.classes import Classes
from tf_simclrv2.weights.run_config import read_config

SKIPPED_FILE = "skipped.txt"
SKIPPED_NAMES = 1000


class ModelDir:
    """A run's directory, local or on a filesystem that TensorFlow knows (`gs://`).

    Args:
        path: The directory; it need not exist.
        chief: False for the workers of a run other than its chief, which only read.
    """

    def __init__(self, path: str, chief: bool = True) -> None:
        self.path = path
        self.chief = chief
        self._skipped_written = 0

    def _join(self, *names: str) -> str:
        return os.path.join(self.path, *names)

    def create(self) -> None:
        """Makes the directory and checks that it can be written.

        Raises:
            ConfigError: It cannot.
        """
        if not self.chief:
            return
        probe = self._join(".writable")
        try:
            tf.io.gfile.makedirs(self.path)
            self._write(probe, "a full disk takes an empty file\n")
            tf.io.gfile.remove(probe)
        except (tf.errors.OpError, OSError) as error:
            reason = " ".join(getattr(error, "message", str(error)).split())
            raise ConfigError(
                f"model_dir is {self.path!r}, which cannot be written ({reason}); choose another directory."
            ) from error

    def read_config(self) -> ExperimentConfig | None:
        """Returns the config of the run that was here before, if any."""
        return read_config(self.path)

    def trained_with(self, config: ExperimentConfig) -> ExperimentConfig:
        """Returns the config that a network here was trained with: an evaluation may read other images."""
        before = self.read_config() if config.run.mode == "eval" else None
        return before or config

    def begun_with(self) -> ExperimentConfig | None:
        """Returns the config that the checkpoints here were made with; None if there are none."""
        return self.read_config() if checkpoint_steps(self.path) else None

    def refuse_other_run(self, config: ExperimentConfig) -> None:
        """Checks that checkpoints here are of the run that is asked for, and not of another one.

        Raises:
            CheckpointError: They are not, naming what differs; or the earlier config cannot be read.
        """
        before = self.begun_with()
        found = changed_settings(before, config) if before else []
        if found:
            raise CheckpointError(
                f"model_dir {self.path!r} holds checkpoints of another run: {'; '.join(found)}; "
                "use another --model_dir or those flags."
            )

    def refuse_best(self) -> None:
        """Checks that this is not the folder of a run's best checkpoint, in which nothing is trained.

        Raises:
            CheckpointError: It is, and which run's.
        """
        if tf.io.gfile.exists(self._join(BEST_FILE)):
            run = os.path.dirname(self.path.rstrip("/"))
            raise CheckpointError(
                f"model_dir {self.path!r} holds the best checkpoint of the run in {run!r}; resume that run, "
                f"or start another one from it with --checkpoint={self.path}."
            )

    def free_changes(self, config: ExperimentConfig) -> list[str]:
        """Returns the settings that differ from those of the checkpoints here and may: `name was …, is …`."""
        before = self.begun_with()
        return free_changes(before, config) if before else []

    def with_start(self, config: ExperimentConfig) -> tuple[ExperimentConfig, list[str]]:
        """Returns a config with what the run here began from; see `run_identity.with_start`."""
        before = self.begun_with()
        return with_start(before, config) if before else (config, [])

    def refuse_other_images(self, images: Mapping[str, TrainingImages], allowed: bool) -> list[str]:
        """Checks that checkpoints here were trained on these images.

        Directories of earlier versions do not say which images those were; they pass.

        Args:
            images: By stream.
            allowed: Whether they may be others.

        Returns:
            How they have changed, if they may; else [].

        Raises:
            CheckpointError: They are others and may not be, or what they were cannot be read.
        """
        if not checkpoint_steps(self.path) or (before := self._images()) is None:
            return []
        found = changes(before, images)
        if found and not allowed:
            raise CheckpointError(
                f"model_dir {self.path!r} was trained on other images: {'; '.join(found)}; use those, or "
                "another --model_dir, or pass --allow_other_data to continue with these."
            )
        return found

    def trained_images(self) -> int:
        """Returns how many images an epoch of the run here has; 0 if that is not known."""
        try:
            images = self._images() or {}
        except CheckpointError:  # An evaluation measures what is whole.
            return 0
        return images["train"].count if "train" in images else 0

    def _images(self) -> dict[str, TrainingImages] | None:
        path = self._join(IMAGES_FILE)
        if not tf.io.gfile.exists(path):
            return None
        try:
            return from_plain(read_json(path))
        except (ValueError, TypeError, tf.errors.OpError) as error:
            raise CheckpointError(
                f"{path} cannot be read ({error}); restore a copy of it, or remove it to skip "
                "this comparison."
            ) from error

    def write_images(self, images: Mapping[str, TrainingImages]) -> None:
        """Writes `images.json`, which `refuse_other_images` reads."""
        self.write_json(IMAGES_FILE, to_plain(images))

    def classes(self) -> Classes | None:
        """Returns the classes of the checkpoints here; None without checkpoints or a config.

        Raises:
            CheckpointError: The config or the class names cannot be read, or do not fit together.
        """
        before = self.begun_with()
        if before is None:
            return None
        owner = f"the run in model_dir {self.path!r}"
        cure = "use data with its classes in their order, or another --model_dir"
        return Classes.read(self.path, before.model.num_classes, owner, cure)

    def refuse_other_classes(self, sources: Iterable[Source]) -> None:
        """Checks that checkpoints here have the classes of these sources, in the same order.

        Raises:
            DataError: They do not, and which class is the first that differs.
        """
        classes = self.classes()
        if classes is not None:
            for source in sources:
                classes.refuse_other(source.name, source.class_names)

    def write_config(self, config: ExperimentConfig, flags: dict[str, Any]) -> None:
        """Writes `config.json` and `flags.json`."""
        self._write(self._join(CONFIG_FILE), config.to_json())
        self._write(self._join("flags.json"), json.dumps(flags, indent=2, default=str) + "\n")

    def write_class_names(self, names: Sequence[str]) -> None:
        """Writes `labels.txt`, which exports include, if names are known."""
        if names:
            self._write(self._join(CLASS_NAMES_FILE), "".join(f"{name}\n" for name in names))

    def write_result(self, result: dict[str, Any], step: int, name: str | None = None) -> str:
        """Writes `result.json` and `result_<step>.json`; a named evaluation gets `<name>_result….json`.

        Returns:
            The path of the first of them.
        """
        prefix = f"{name}_result" if name else "result"
        text = json.dumps(result, indent=2) + "\n"
        for file in (f"{prefix}.json", f"{prefix}_{step}.json"):
            self._write(self._join(file), text)
        return self._join(f"{prefix}.json")

    def write_json(self, name: str, values: dict[str, Any]) -> str:
        """Writes a JSON file and returns its path."""
        self._write(self._join(name), json.dumps(values, indent=2) + "\n")
        return self._join(name)

    def write_skipped(self, names: Sequence[str]) -> None:
        """Writes `skipped.txt`: the first `SKIPPED_NAMES` names, one per line, and how many more there are.

        Writes nothing if there are no more names than the last time.
        """
        if len(names) <= self._skipped_written:
            return
        self._skipped_written = len(names)
        more = len(names) - SKIPPED_NAMES
        lines = [*names[:SKIPPED_NAMES], *([f"and {more:,} more"] if more > 0 else [])]
        self._write(self._join(SKIPPED_FILE), "".join(f"{line}\n" for line in lines))

    def saved_model(self, step: int) -> str:
        """Returns the path of the SavedModel of a step."""
        return self._join("saved_model", str(step))

    def replace(self, part: str, directory: str) -> None:
        """Moves a finished directory to its place, replacing that of an earlier evaluation."""
        if tf.io.gfile.exists(directory):
            tf.io.gfile.rmtree(directory)
        tf.io.gfile.rename(part, directory)

    def prune_saved_models(self, keep: int) -> None:
        """Removes all but the `keep` newest SavedModels."""
        root = self._join("saved_model")
        steps = sorted(
            int(name.rstrip("/")) for name in tf.io.gfile.listdir(root) if name.rstrip("/").isdigit()
        )
        for step in steps[:-keep]:
            tf.io.gfile.rmtree(self.saved_model(step))

    def _write(self, path: str, text: str) -> None:
        if self.chief:
            write_atomically(path, text)
