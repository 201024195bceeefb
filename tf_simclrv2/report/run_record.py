"""What a run has left in its directory, as far as it can be read."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import tensorflow as tf

from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.errors import CheckpointError, ConfigError
from tf_simclrv2.files import CONFIG_FILE, VERSIONS_FILE, read_json
from tf_simclrv2.report.event_files import Scalar, read_scalars
from tf_simclrv2.report.observations import OBSERVATIONS_FILE, DamagedObservations, Observations
from tf_simclrv2.weights.run_config import read_config

RESULT_FILE = "result.json"
EVALUATION = "eval"


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """A run as its files tell it.

    Attributes:
        path: The directory.
        config: None where it is missing.
        versions: By name; {} where they are missing.
        result: Of the last evaluation; {} before there is one.
        training: Scalars by tag.
        evaluation: Scalars by tag.
        observations: None where they are missing.
        missing: A sentence for each thing that is.
    """

    path: str
    config: ExperimentConfig | None
    versions: dict[str, str]
    result: dict[str, Any]
    training: dict[str, Scalar]
    evaluation: dict[str, Scalar]
    observations: Observations | None
    missing: tuple[str, ...]

    @property
    def name(self) -> str:
        return os.path.basename(os.path.normpath(self.path))

    @property
    def step(self) -> int:
        """The last step that anything tells of."""
        lasts = [int(scalar.steps[-1]) for scalar in self.training.values()]
        return max([int(self.result.get("global_step", 0)), *lasts], default=0)


class _Reader:
    """Reads one thing after the other and remembers what was missing."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.missing: list[str] = []

    def json(self, name: str, otherwise: str) -> dict[str, Any]:
        """A JSON file; {} and a sentence where there is none."""
        path = os.path.join(self.path, name)
        if not tf.io.gfile.exists(path):
            self.missing.append(f"There is no {name}: {otherwise}")
            return {}
        try:
            return read_json(path)
        except (ValueError, tf.errors.OpError) as error:
            self.missing.append(f"{name} cannot be read ({error}).")
            return {}

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
                f"There is no {OBSERVATIONS_FILE}, from which the pictures of the network are made: the end "
                "of the training, or an evaluation, writes it."
            )
        return found

    def scalars(self, *folder: str) -> dict[str, Scalar]:
        found, torn = read_scalars(os.path.join(self.path, *folder))
        self.missing += [f"The end of {name} cannot be read; what is before it is shown." for name in torn]
        return found


def read_run(path: str) -> RunRecord:
    """Reads a run.

    Args:
        path: Its `model_dir`.

    Raises:
        ConfigError: The directory holds no run.
    """
    reader = _Reader(path)
    traces = [CONFIG_FILE, RESULT_FILE, "events.out.tfevents.*"]
    if not any(tf.io.gfile.glob(os.path.join(path, trace)) for trace in traces):
        raise ConfigError(
            f"run is {path!r}, which holds neither {CONFIG_FILE} nor events; name the model_dir of a run."
        )
    record = RunRecord(
        path=path,
        config=reader.config(),
        versions=reader.json(VERSIONS_FILE, "the versions are not known."),
        result=reader.json(RESULT_FILE, "the run has not been evaluated."),
        training=reader.scalars(),
        evaluation=reader.scalars(EVALUATION),
        observations=reader.observations(),
        missing=(),
    )
    if not record.training:
        reader.missing.append("There are no events of the training: no curves are shown.")
    return dataclasses.replace(record, missing=tuple(reader.missing))
