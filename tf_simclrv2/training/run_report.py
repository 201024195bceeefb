"""What a run keeps for its report while the network is in memory, and the report itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from tf_simclrv2.data import Source
from tf_simclrv2.errors import CheckpointError
from tf_simclrv2.evaluation.class_accuracy import TOP_1
from tf_simclrv2.evaluation.frozen_protocols import (
    NOTHING,
    RANDOM_ENCODER,
    STARTING_ENCODER,
    FrozenResult,
)
from tf_simclrv2.evaluation.nearest_neighbors import NEIGHBORS
from tf_simclrv2.evaluation.random_encoder import random_encoder
from tf_simclrv2.models.simclr import SimCLR
from tf_simclrv2.progress import Say, phase
from tf_simclrv2.report.baselines import baseline_accuracies
from tf_simclrv2.report.build import write_report
from tf_simclrv2.report.observe import BATCH, observe
from tf_simclrv2.report.projector import write_projector
from tf_simclrv2.report.run_record import BASELINES_FILE, read_baselines
from tf_simclrv2.report.split_sample import SplitSampler
from tf_simclrv2.training.model_dir.model_dir import ModelDir
from tf_simclrv2.training.model_dir.training_images import labels_hash
from tf_simclrv2.training.preparation import PreparedRun
from tf_simclrv2.weights.loading import load_weights

# Results of a protocol by its name; of nearest neighbors, those that the report shows.
KEYS = {"linear": "linear", "knn": f"knn_{NEIGHBORS[0]}"}
# To fit a linear classifier of more takes minutes, and so few images of each say little.
MOST_CLASSES = 200


class RunReport:
    """Writes a run's report, and the files that it is made from.

    Args:
        prepared: The run.
        model_dir: Where files go.
        say: Where lines for the user go.
    """

    def __init__(self, prepared: PreparedRun, model_dir: ModelDir, say: Say) -> None:
        self.prepared = prepared
        self.plan = prepared.plan
        self.config = prepared.config
        self.model_dir = model_dir
        self.say = say

    def write(self, result: Mapping[str, Any], frozen: FrozenResult = NOTHING) -> None:
        """Writes `report.html` and TensorBoard's projector; if that fails, the run still succeeds.

        Args:
            result: What the evaluation found; empty after a training alone.
            frozen: What classifiers of frozen features predicted; by default there are none.
        """
        most = self.config.run.report_images
        if not (most and self.prepared.chief):
            return
        try:
            with phase("writing the report", self.say):
                self._write(result, frozen, most)
        except Exception as error:
            self.say(
                f"the report could not be written ({type(error).__name__}: {error}); the run is complete"
            )

    def _write(self, result: Mapping[str, Any], frozen: FrozenResult, most: int) -> None:
        task, directory = self.prepared.task, self.model_dir.path
        wanted = self._unknown_baselines(result)
        sampler = SplitSampler(task.network, self._encoders(wanted), self.config, most, self.say)
        samples = [sampler(source) for source in self._sources]
        if wanted:
            fitted = self.plan.fitted_source
            train = samples[-1] if fitted is self.plan.train_source else sampler(fitted)
            found = baseline_accuracies(train, samples[0], self.config, tuple(wanted["protocols"]))
            self.model_dir.write_json(BASELINES_FILE, {"measured_on": wanted, **found})
        seen = observe(task, samples, self.prepared.batches.first(BATCH), frozen)
        seen.save(directory)
        write_projector(directory, seen)
        self.say(f"report: {write_report(directory)}")

    @property
    def _sources(self) -> list[Source]:
        """The images to show, then the training images if they are others."""
        train, shown = self.plan.train_source, self.plan.eval_source
        return [train] if shown is None or shown.name == train.name else [shown, train]

    def _unknown_baselines(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """What baselines must be measured on; {} if the run's files hold them, or if there can be none."""
        train, test = self.plan.fitted_source, self.plan.eval_source
        if test is None or not (train.has_labels and test.has_labels):
            return {}
        start, protocols = self._start, self._protocols(train.num_classes)
        needed = [f"{KEYS[protocol]}/{RANDOM_ENCODER}/{TOP_1}" for protocol in protocols]
        needed += [f"linear/{STARTING_ENCODER}/{TOP_1}"] if start and "linear" in protocols else []
        if all(name in result for name in needed):
            return {}
        most = self.config.run.report_images
        measured_on = {
            "train": [train.name, train.sample(most).num_examples, train.num_examples],
            "test": [test.name, test.sample(most).num_examples, test.num_examples],
            # Pictures may have been sorted into other classes since.
            "names_and_labels": [[source.names_hash, labels_hash(source)] for source in (train, test)],
            "protocols": protocols,
            "starting_encoder": start,
            "model": dataclasses.asdict(self.config.model),
            "seed": self.config.training.seed,
        }
        known = read_baselines(self.model_dir.path).get("measured_on") == measured_on
        return {} if known else measured_on

    def _encoders(self, wanted: Mapping[str, Any]) -> dict[str, SimCLR]:
        """The networks by which baselines are measured."""
        if not wanted:
            return {}
        network = self.prepared.task.network
        strategy = self.prepared.chiefs_strategy  # A new variable is a collective.
        random = random_encoder(network, self.plan.train_source, self.config, strategy)
        encoders = {RANDOM_ENCODER: random}
        if wanted["starting_encoder"]:
            try:
                encoders[STARTING_ENCODER] = self._encoder_of(wanted["starting_encoder"])
            except CheckpointError as error:  # It may be gone since training started.
                self.say(f"there is no linear probe before fine-tuning: {error}")
        return encoders

    def _protocols(self, classes: int) -> list[str]:
        """The protocols by which baselines are measured; the linear one is compared with a classifier too."""
        asked = set(self.config.evaluation.protocols)
        if "online" in asked and self.config.model.num_classes:
            asked.add("linear")
        return [name for name in KEYS if name in asked and (name != "linear" or classes <= MOST_CLASSES)]

    @property
    def _start(self) -> str:
        """The weights that a classifier was fine-tuned from; empty if there are none."""
        if self.config.training.train_mode == "pretrain":
            return ""
        # An evaluation does not say it again.
        return self.model_dir.trained_with(self.config).run.checkpoint or ""

    def _encoder_of(self, path: str) -> SimCLR:
        shape = self.config.model.truncated("final_avg_pool", classify=False)
        network = SimCLR(shape, name="start", dtype=self.prepared.task.network.dtype_policy)
        network.build((None, shape.image_size, shape.image_size, 3))
        load_weights(network, path)
        return network
