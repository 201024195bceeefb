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
H, PIXELS = "final_avg_pool", "raw_pixels"
# A new classifier of ten classes guesses: about 0.1 before its first step, and up to 0.3 by luck.
_NEW_CLASSIFIER = 0.5

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
            learning_rate=self.settings.pretrain_rate,
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
            learning_rate=self.settings.finetune_rate,
            **self._labels(per_class),
        )

    def scratch(self, per_class: int, depth: int) -> ExperimentConfig:
        """A network of some depth from random weights."""
        return self._config(
            "digits_supervised",
            f"scratch{depth}_{per_class}_{self.seed}",
            resnet_depth=depth,
            learning_rate=self.settings.scratch_rate,
            **self._labels(per_class),
        )

    def distillation(self, per_class: int, layer: int, depth: int) -> ExperimentConfig:
        """The network fine-tuned from a layer, into one of some depth."""
        return self._config(
            "digits_distill",
            f"student{depth}_{per_class}_{self.seed}",
            teacher=self.output / f"layer{layer}_{per_class}_{self.seed}",
            resnet_depth=depth,
            ft_proj_selector=layer,
            train_epochs=self.settings.distill_epochs,
            learning_rate=self.settings.distill_rate,
            checkpoint_epochs=1,
        )

    def _labels(self, per_class: int) -> dict[str, object]:
        steps = self.settings.steps(per_class)
        return {
            "labels_per_class": per_class,
            "label_seed": self.seed,
            "train_batch_size": self.settings.batch_size(per_class),
            "train_steps": steps,
            "checkpoint_steps": steps,
        }

    def _config(self, stage: str, name: str, **changes: object) -> ExperimentConfig:
        settings = self.settings
        common = {
            "model_dir": self.output / name,
            "dataset": "digits" if settings.dataset == "digits" else "image_folder",
            "data_dir": self.output / IMAGES,
            "train_split": settings.train,
            "eval_split": settings.test,
            "cache_dataset": True,
            "image_size": settings.image_size,
            "resnet_depth": settings.big_depth,
            "precision": settings.precision,
            "random_flip": settings.random_flip,
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
    extract = FeatureExtractor(network, [H, PIXELS])
    arrays = {}
    for split in (settings.train, settings.test):
        found, labels = split_features(extract, load_source(config.data, split), config)
        gray = found[PIXELS][:, ::3]  # The three channels are alike.
        arrays |= {f"{split}/{H}": found[H], f"{split}/{PIXELS}": gray, f"{split}/labels": labels}
    unfinished = features.with_name(f"unfinished_{FEATURES}")
    np.savez(unfinished, **arrays)  # pyright: ignore[reportArgumentType]
    unfinished.rename(features)


def measure_point(settings: Settings, output: pathlib.Path, seed: int, per_class: int) -> Point:
    """Fine-tunes from every layer, distills the best, trains from scratch, and probes.

    Returns:
        Test accuracies: `pixels` and `linear`, of linear classifiers; `tuned` (from the layer that is best on
        the validation images), `self`, `student`, `scratch` and `scratch_small`; of what was trained
        `…/start`, before the first step; `layer`; and of every layer `layer0`, `layer0/validation` and so on.

    Raises:
        RuntimeError: A classifier was better than chance before its first step.
    """
    runs = Runs(settings, output, seed)
    point: Point = {"pixels": probe(runs, per_class, PIXELS), "linear": probe(runs, per_class, H)}
    for layer in HEAD_LAYERS:
        point |= _trained(f"layer{layer}", runs.finetuning(per_class, layer), settings.validation)
    best = best_layer(point)
    point |= {"layer": best, "tuned": point[f"layer{best}"], "tuned/start": point[f"layer{best}/start"]}
    others = {
        "self": runs.distillation(per_class, best, settings.big_depth),
        "student": runs.distillation(per_class, best, settings.small_depth),
        "scratch": runs.scratch(per_class, settings.big_depth),
        "scratch_small": runs.scratch(per_class, settings.small_depth),
    }
    for name, config in others.items():
        point |= _trained(name, config, settings.validation)
    for directory in output.glob(f"*_{per_class}_{seed}"):
        delete_checkpoints(directory)
    return point


def _trained(name: str, config: ExperimentConfig, validation: str) -> Point:
    found = run_watched_stage(config, validation)
    start = found[AT_START]
    if start > _NEW_CLASSIFIER:
        raise RuntimeError(f"{config.run.model_dir} begins at {start:.2f}, so its classifier is not new.")
    return {name: found[TOP_1], f"{name}/start": start, f"{name}/validation": found[VALIDATION]}


def best_layer(point: Mapping[str, float]) -> int:
    """The layer that is best on the validation images; among equals the paper's, then h."""
    preferred = sorted(HEAD_LAYERS, key=lambda layer: (layer != 1, layer))
    return max(preferred, key=lambda layer: point[f"layer{layer}/validation"])


def probe(runs: Runs, per_class: int, features: str) -> float:
    """The accuracy of a linear classifier of h, or of the pixels, fitted to the same labels."""
    train, test = runs.settings.train, runs.settings.test
    with np.load(runs.output / runs.pretrained / FEATURES) as file:
        labels = file[f"{train}/labels"]
        chosen = draw_per_class(labels, per_class, runs.seed)
        rows, tested = file[f"{train}/{features}"][chosen], file[f"{test}/{features}"]
        return linear_probe(rows, labels[chosen], tested, file[f"{test}/labels"]).accuracy
