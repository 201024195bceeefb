"""The three stages on handwritten digits: from 1437 images, 70 of them with labels, to a small student.

    python benchmarks/semi_supervised.py [--output=runs/semi_supervised] [--more_labels]

Pretrains, fine-tunes from each layer of the projection head, distills the best teacher into itself and into a
smaller network, trains both networks from scratch on the same labels, and prints one table; the same numbers
go to OUTPUT/semi_supervised.json. Means are over three draws of the labels, 7 per class, from the first 80 %
of the training images. The layer is chosen on the other 20 %, never on the test images. `--more_labels` also
fine-tunes with 14 labels per class and with all of the 80 %. Every run has a process with one thread, and as
many run at once as there are cores. Running it again resumes, unless the recipes have other flags now.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import statistics
import sys
import time
from concurrent.futures import Executor, Future

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from benchmarks.measuring.results_file import claim_folder
from benchmarks.measuring.stages import (
    AT_START,
    TOP_1,
    VALIDATION,
    add_process_flags,
    be_quiet,
    recipe,
    recipe_flags,
    run_stage,
    run_watched_stage,
    stage_processes,
)
from flags import define_flags
from tf_simclrv2 import ExperimentConfig

LABEL_SEEDS = (0, 1, 2)
HEAD_LAYERS = (0, 1, 2)
SMALL = {"resnet_depth": 18}
VALIDATION_SPLIT = "train[80%:]"
# More labels per class (0: all), each with as many epochs as come to a few hundred steps.
MORE_LABELS = {
    14: {"labels_per_class": 14, "train_epochs": 75},
    0: {"labels_per_class": 0, "train_epochs": 18},
}


@dataclasses.dataclass(frozen=True)
class Recipes:
    """What the stages' recipes set, a flag each."""

    digits_pretrain: tuple[str, ...]
    digits_finetune: tuple[str, ...]
    digits_distill: tuple[str, ...]
    digits_supervised: tuple[str, ...]

    @classmethod
    def now(cls) -> Recipes:
        """As they are in this checkout."""
        return cls(**{field.name: recipe_flags(field.name) for field in dataclasses.fields(cls)})


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table: accuracies by label seed.

    Attributes:
        name: What was trained.
        accuracies: On the test images.
        at_start: On the test images before the first step.
        validation: On the validation images.
    """

    name: str
    accuracies: list[float]
    at_start: list[float] = dataclasses.field(default_factory=list)
    validation: list[float] = dataclasses.field(default_factory=list)

    def __str__(self) -> str:
        means = (mean(numbers) for numbers in (self.at_start, self.validation, self.accuracies))
        each = "  ".join(f"{accuracy:.4f}" for accuracy in self.accuracies)
        return f"  {self.name:<36}{''.join(f'{value:>11}' for value in means)}   {each}"


def mean(numbers: list[float]) -> str:
    """Of the table; a dash where nothing was measured."""
    return f"{statistics.mean(numbers):.4f}" if numbers else "-"


class Chain:
    """The stages, each in a directory of its own below `output`; as many run at once as there are cores."""

    def __init__(self, output: pathlib.Path, cores: Executor) -> None:
        self.output = output
        self.cores = cores

    def config(self, stage: str, name: str, **changes: object) -> ExperimentConfig:
        """A stage with a directory of its own."""
        directory = self.output / name
        return recipe(stage, model_dir=directory, keep_hub_module_max=0, report_images=0, **changes)

    def run(self, stage: str, name: str, **changes: object) -> Future[dict[str, float]]:
        """Starts a stage that has labels, or waits for a core to do so."""
        return self.cores.submit(run_watched_stage, self.config(stage, name, **changes), VALIDATION_SPLIT)

    def pretrain(self) -> Future[dict[str, float]]:
        return self.cores.submit(run_stage, self.config("digits_pretrain", "pretrained"))

    def finetune(self, layer: int, more: int | None = None) -> list[Future[dict[str, float]]]:
        changes = {"checkpoint": self.output / "pretrained", "ft_proj_selector": layer}
        changes |= {} if more is None else MORE_LABELS[more]
        name = "" if more is None else f"_{more or 'all'}"
        return [
            self.run(
                "digits_finetune", finetuned_name(layer, seed) + name, label_seed=seed, seed=seed, **changes
            )
            for seed in LABEL_SEEDS
        ]

    def scratch(self, size: str, **model: object) -> list[Future[dict[str, float]]]:
        return [
            self.run("digits_supervised", f"scratch_{size}_labels{seed}", label_seed=seed, **model)
            for seed in LABEL_SEEDS
        ]

    def distill(self, name: str, layer: int, **model: object) -> list[Future[dict[str, float]]]:
        return [
            self.run(
                "digits_distill",
                f"{name}_labels{seed}",
                teacher=self.output / finetuned_name(layer, seed),
                **model,
            )
            for seed in LABEL_SEEDS
        ]


def finetuned_name(layer: int, seed: int) -> str:
    """The directory of a network fine-tuned from a layer of the head."""
    return f"finetuned_layer{layer}_labels{seed}"


def row(name: str, runs: list[Future[dict[str, float]]]) -> Row:
    """Waits for the runs of a line of the table."""
    results = [run.result() for run in runs]
    columns = ([result[key] for result in results if key in result] for key in (TOP_1, AT_START, VALIDATION))
    return Row(name, *columns)


def run_chain(chain: Chain) -> list[Row]:
    """All stages; the rows of the table."""
    pretraining = chain.pretrain()
    scratch, small_scratch = chain.scratch("large"), chain.scratch("small", **SMALL)
    pretrained = pretraining.result()
    few = next(key for key in pretrained if key.startswith("linear_") and "/final_avg_pool/" in key)
    finetuning = {layer: chain.finetune(layer) for layer in HEAD_LAYERS}
    finetuned = {
        layer: row(f"fine-tuned from head layer {layer}", runs) for layer, runs in finetuning.items()
    }
    best = max(finetuned, key=lambda layer: statistics.mean(finetuned[layer].validation))
    self_distilled = chain.distill("self_distilled", best)
    small = chain.distill("small_student", best, **SMALL)
    return [
        row("from scratch, same labels", scratch),
        Row("linear probe of h", [pretrained[few]]),
        *finetuned.values(),
        row(f"self-distilled (teacher: layer {best})", self_distilled),
        row("distilled into the small network", small),
        row("small network from scratch", small_scratch),
    ]


def more_labels(chain: Chain) -> list[Row]:
    """Fine-tuning with more labels than 7 a class; the rows."""
    runs = {(more, layer): chain.finetune(layer, more) for more in MORE_LABELS for layer in HEAD_LAYERS}
    return [
        row(f"{more or 'all'} labels{' a class' if more else ''}, from head layer {layer}", found)
        for (more, layer), found in runs.items()
    ]


def main() -> None:
    """Runs the chain and prints its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/semi_supervised"))
    parser.add_argument("--more_labels", action="store_true", help="fine-tune with more labels too")
    add_process_flags(parser)
    arguments = parser.parse_args()
    claim_folder(arguments.output, Recipes.now())
    define_flags()
    be_quiet()
    start = time.perf_counter()
    with stage_processes(arguments) as cores:
        chain = Chain(arguments.output, cores)
        rows = run_chain(chain)
        rows += more_labels(chain) if arguments.more_labels else []
    print(f"\ntop-1{'':<33}{'at step 0':>11}{'validation':>11}{'test':>11}   test, by draw of the labels")
    print("\n".join(map(str, rows)))
    print(f"{(time.perf_counter() - start) / 60:.1f} minutes")
    table = {row.name: dataclasses.asdict(row) for row in rows}
    (arguments.output / "semi_supervised.json").write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
