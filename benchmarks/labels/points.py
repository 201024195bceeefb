"""A point of the curves: everything that is done with one draw of so many labels."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping

import numpy as np

from benchmarks.claims.execute import delete_checkpoints
from benchmarks.labels.settings import Settings
from benchmarks.measuring.results_file import ResultsFile
from benchmarks.measuring.stages import (
    AT_START,
    RESULT,
    TOP_1,
    VALIDATION,
    recipe,
    run_stage,
    run_watched_stage,
)
from tf_simclrv2 import ExperimentConfig
from tf_simclrv2.data import draw_per_class, load_source
from tf_simclrv2.evaluation import FeatureExtractor, linear_probe, split_features
from tf_simclrv2.export.trained_network import load_trained_network

HEAD_LAYERS = (0, 1, 2)
IMAGES, FEATURES = "images", "features.npz"
TRAIN, HELD_OUT, TEST = "train", "validation", "test"

Point = dict[str, float]
Measured = ResultsFile[Settings]


def key(seed: int, per_class: int) -> str:
    """The name of a point."""
    return f"{seed}/{per_class}"


def numbers(measured: Measured, per_class: int, name: str) -> list[float]:
    """A number of all seeds that have it, for so many labels per class."""
    keys = (key(seed, per_class) for seed in measured.settings.seeds)
    return [measured.results[each][name] for each in keys if each in measured.results]


@dataclasses.dataclass(frozen=True)
class Runs:
    """The runs of a seed.

    Attributes:
        settings: Of all.
        output: Where they are.
        seed: Of weights, augmentation and labels.
    """

    settings: Settings
    output: pathlib.Path
    seed: int

    def pretraining(self) -> ExperimentConfig:
        """Without labels."""
        return self._config(
            "digits_pretrain",
            self.pretrained,
            train_batch_size=self.settings.pretrain_batch_size,
            train_epochs=self.settings.pretrain_epochs,
            checkpoint_epochs=1,
            lineareval_while_pretraining=False,
            eval_protocols="knn",
            probe_labels_per_class=0,
        )

    @property
    def pretrained(self) -> str:
        """The directory of the pretrained network."""
        return f"pretrained_{self.seed}"

    def finetuning(self, per_class: int, layer: int) -> ExperimentConfig:
        """From a layer of the head."""
        return self._config(
            "digits_finetune",
            f"layer{layer}_{per_class}_{self.seed}",
            checkpoint=self.output / self.pretrained,
            ft_proj_selector=layer,
            **self._labels(per_class, scratch=False),
        )

    def scratch(self, per_class: int) -> ExperimentConfig:
        """The big network from random weights."""
        name = f"scratch_{per_class}_{self.seed}"
        return self._config("digits_supervised", name, **self._labels(per_class, scratch=True))

    def distillation(self, per_class: int, layer: int, depth: int) -> ExperimentConfig:
        """The network fine-tuned from a layer, into one of some depth."""
        return self._config(
            "digits_distill",
            f"student{depth}_{per_class}_{self.seed}",
            teacher=self.output / f"layer{layer}_{per_class}_{self.seed}",
            resnet_depth=depth,
            ft_proj_selector=layer,
            train_split=TRAIN,
            train_epochs=self.settings.distill_epochs,
            checkpoint_epochs=1,
        )

    def _labels(self, per_class: int, scratch: bool) -> dict[str, object]:
        steps = self.settings.steps(per_class, scratch)
        return {
            "train_split": TRAIN,
            "labels_per_class": per_class,
            "label_seed": self.seed,
            "train_batch_size": self.settings.batch_size(per_class),
            "train_steps": steps,
            "checkpoint_steps": steps,
        }

    def _config(self, stage: str, name: str, **changes: object) -> ExperimentConfig:
        common = {
            "model_dir": self.output / name,
            "dataset": "image_folder",
            "data_dir": self.output / IMAGES,
            "cache_dataset": True,
            "image_size": self.settings.image_size,
            "resnet_depth": self.settings.big_depth,
            "precision": self.settings.precision,
            "random_flip": True,
            "seed": self.seed,
            "keep_hub_module_max": 0,
            "keep_checkpoint_max": 1,
            "report_images": 0,
        }
        return recipe(stage, **{**common, **changes})


def pretrain(settings: Settings, output: pathlib.Path, seed: int) -> None:
    """Pretrains and writes the features of h, unless that is there already."""
    runs = Runs(settings, output, seed)
    features, weights = output / runs.pretrained / FEATURES, (output / runs.pretrained).glob("ckpt-*.index")
    if features.exists() and any(weights):
        return
    (output / runs.pretrained / RESULT).unlink(missing_ok=True)
    config = runs.pretraining()
    run_stage(config)
    network = load_trained_network(config.run.require_model_dir()).network
    extract = FeatureExtractor(network, ["final_avg_pool"])
    arrays = {}
    for split in (TRAIN, TEST):
        found, labels = split_features(extract, load_source(config.data, split), config)
        arrays |= {split: found["final_avg_pool"], f"{split}_labels": labels}
    unfinished = features.with_name(f"unfinished_{FEATURES}")
    np.savez(unfinished, **arrays)  # pyright: ignore[reportArgumentType]
    unfinished.rename(features)


def measure_point(settings: Settings, output: pathlib.Path, seed: int, per_class: int) -> Point:
    """Fine-tunes from every layer, distills the best, trains from scratch, and probes.

    Returns:
        Test accuracies: `scratch`, `linear`, `tuned` (from the layer that is best on the validation images),
        `self`, `student`; of the former stages `…/start`, before the first step; `layer`; and of every layer
        `layer0`, `layer0/validation` and so on.
    """
    runs = Runs(settings, output, seed)
    point: Point = {"linear": probe(runs, per_class)}
    for layer in HEAD_LAYERS:
        found = run_watched_stage(runs.finetuning(per_class, layer), HELD_OUT)
        point |= {f"layer{layer}": found[TOP_1], f"layer{layer}/validation": found[VALIDATION]}
        point[f"layer{layer}/start"] = found[AT_START]
    best = best_layer(point)
    point |= {"layer": best, "tuned": point[f"layer{best}"], "tuned/start": point[f"layer{best}/start"]}
    others = {
        "scratch": runs.scratch(per_class),
        "self": runs.distillation(per_class, best, settings.big_depth),
        "student": runs.distillation(per_class, best, settings.small_depth),
    }
    for name, config in others.items():
        found = run_watched_stage(config, HELD_OUT)
        point |= {name: found[TOP_1], f"{name}/start": found[AT_START]}
    for directory in output.glob(f"*_{per_class}_{seed}"):
        delete_checkpoints(directory)
    return point


def best_layer(point: Mapping[str, float]) -> int:
    """The layer that is best on the validation images; among equals the paper's, then h."""
    preferred = sorted(HEAD_LAYERS, key=lambda layer: (layer != 1, layer))
    return max(preferred, key=lambda layer: point[f"layer{layer}/validation"])


def probe(runs: Runs, per_class: int) -> float:
    """The accuracy of a linear classifier of the pretrained network's h, fitted to the same labels."""
    with np.load(runs.output / runs.pretrained / FEATURES) as file:
        labels = file[f"{TRAIN}_labels"]
        chosen = draw_per_class(labels, per_class, runs.seed)
        return linear_probe(file[TRAIN][chosen], labels[chosen], file[TEST], file[f"{TEST}_labels"]).accuracy
