"""Reads the files of a run for its report, and notes what is missing or damaged."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import tensorflow as tf

from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.errors import CheckpointError, ConfigError
from tf_simclrv2.files import (
    BEST_FILE,
    BEST_FOLDER,
    CONFIG_FILE,
    VALIDATION_FILE,
    VERSIONS_FILE,
    read_json,
)
from tf_simclrv2.report.event_files import Scalar, event_files, read_scalars
from tf_simclrv2.report.observations import OBSERVATIONS_FILE, DamagedObservations, Observations
from tf_simclrv2.weights.run_config import read_config

RESULT_FILE = "result.json"
BASELINES_FILE = "baselines.json"
EVALUATION = "eval"


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """What the files of a run say about it.

    Attributes:
        path: The directory.
        config: The config; None if it cannot be read.
        versions: Versions by package; {} if they are missing.
        result: The result of the last evaluation; {} if there was none.
        best: What the best checkpoint was chosen by; {} if none is kept.
        stopped_early: The step at which the training was stopped, and its patience; {} if it was not.
        baselines: What the accuracies are to be compared with, by tag; {} if it was not measured.
        training: Scalars of the training by tag.
        evaluation: Scalars of the evaluations by tag.
        observations: The network's output for some images; None if it is missing.
        missing: A sentence for each thing that is missing or damaged.
    """

    path: str
    config: ExperimentConfig | None
    versions: dict[str, str]
    result: dict[str, Any]
    baselines: dict[str, Any]
    training: dict[str, Scalar]
    evaluation: dict[str, Scalar]
    observations: Observations | None
    missing: tuple[str, ...]
    best: dict[str, Any] = dataclasses.field(default_factory=dict)
    stopped_early: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        return os.path.basename(os.path.normpath(self.path))

    @property
    def step(self) -> int:
        """The last step that any of the files mentions."""
        lasts = [int(scalar.steps[-1]) for scalar in self.training.values()]
        return max([int(self.result.get("global_step", 0)), *lasts], default=0)


def read_baselines(path: str) -> dict[str, Any]:
    """Reads what a run's accuracies are compared with; returns {} if it cannot be read."""
    try:
        return read_json(os.path.join(path, BASELINES_FILE))
    except (ValueError, tf.errors.OpError):
        return {}


class _Reader:
    """Reads one file after another and collects what is missing."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.missing: list[str] = []

    def json(self, name: str, otherwise: str) -> dict[str, Any]:
        """Reads a JSON file; returns {} and notes it as missing if it cannot be read."""
        path = os.path.join(self.path, name)
        if not tf.io.gfile.exists(path):
            self.missing.append(f"There is no {name}: {otherwise}")
            return {}
        try:
            return read_json(path)
        except (ValueError, tf.errors.OpError) as error:
            self.missing.append(f"{name} cannot be read ({error}).")
            return {}

    def json_if_there(self, name: str) -> dict[str, Any]:
        """Reads a JSON file that not every run has."""
        return self.json(name, "") if tf.io.gfile.exists(os.path.join(self.path, name)) else {}

    def config(self) -> ExperimentConfig | None:
        try:
            found = read_config(self.path)
        except CheckpointError as error:
            self.missing.append(str(error))
            return None
        if found is None:
            self.missing.append(f"There is no {CONFIG_FILE}: the settings are not known.")
        return found

    def observations(self) -> Observations | None:
        try:
            found = Observations.load(self.path)
        except DamagedObservations as error:
            self.missing.append(f"{OBSERVATIONS_FILE} cannot be read ({error}); evaluate the run again.")
            return None
        if found is None:
            self.missing.append(
                f"There is no {OBSERVATIONS_FILE}, from which the pictures are made: it is written at the "
                "end of a training or an evaluation."
            )
        return found

    def scalars(self, *folder: str) -> dict[str, Scalar]:
        found, torn = read_scalars(os.path.join(self.path, *folder))
        self.missing += [f"The end of {name} cannot be read; the part before it is shown." for name in torn]
        return found


def read_run(path: str) -> RunRecord:
    """Reads the files of a run; missing and damaged ones are noted, not refused.

    Args:
        path: The `model_dir` of the run.

    Raises:
        ConfigError: The directory does not hold a run.
    """
    reader = _Reader(path)
    files = [os.path.join(path, name) for name in (CONFIG_FILE, RESULT_FILE)]
    if not (any(map(tf.io.gfile.exists, files)) or event_files(path)):
        raise ConfigError(
            f"run is {path!r}, which has neither {CONFIG_FILE} nor events; pass the model_dir of a run."
        )
    record = RunRecord(
        path=path,
        config=reader.config(),
        versions=reader.json(VERSIONS_FILE, "the versions are not known."),
        result=reader.json(RESULT_FILE, "the run has not been evaluated."),
        baselines=read_baselines(path),
        training=reader.scalars(),
        evaluation=reader.scalars(EVALUATION),
        observations=reader.observations(),
        missing=(),
        best=reader.json_if_there(os.path.join(BEST_FOLDER, BEST_FILE)),
    )
    stopped = reader.json_if_there(VALIDATION_FILE).get("stopped_early") or {}
    if stopped.get("step") == record.step:  # Else it went on from there.
        record = dataclasses.replace(record, stopped_early=stopped)
    if not record.training:
        reader.missing.append("There are no training events, so no curves are shown.")
    return dataclasses.replace(record, missing=tuple(reader.missing))
