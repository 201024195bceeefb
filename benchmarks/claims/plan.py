"""Which runs the claims need, and which start from which; claims share what they can."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from benchmarks.claims.claim import Claim
from benchmarks.claims.scale import Scale

# Shares of the labels, as the paper's; and the weights of distillation against labels.
FRACTIONS = {"1pct": 0.01, "10pct": 0.1}
ALPHAS = (0.0, 0.5, 1.0)
IMAGES = "images"


@dataclasses.dataclass(frozen=True)
class Stage:
    """A run.

    Attributes:
        name: Its directory.
        recipe: The recipe that it changes.
        flags: The changes.
        start: The stage whose network it starts from or is taught by; None needs no other.
        start_flag: The flag that takes that network.
    """

    name: str
    recipe: str
    flags: dict[str, object]
    start: str | None = None
    start_flag: Literal["checkpoint", "teacher"] = "checkpoint"


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """A pretrained network.

    Attributes:
        depth: Layers of its ResNet.
        head_layers: Layers of its projection head.
        selector: The layer of the head that it is fine-tuned from.
        other_selectors: Further layers, each of which it is fine-tuned from too.
        fractions: Which shares of the labels it is fine-tuned with.
        memory: Whether a memory of negatives is used.
        probed: Whether a linear probe is fitted to it.
    """

    depth: int
    head_layers: int = 3
    selector: int = 1
    other_selectors: tuple[int, ...] = ()
    fractions: tuple[str, ...] = tuple(FRACTIONS)
    memory: bool = False
    probed: bool = False


def pretrained_networks(scale: Scale) -> dict[str, Pretrained]:
    """The networks by name, the costliest first."""
    return {
        "big": Pretrained(scale.big_depth),
        "memory": Pretrained(scale.small_depth, fractions=("1pct",), memory=True, probed=True),
        "small": Pretrained(scale.small_depth, other_selectors=(0, 2), probed=True),
        "shallow_head": Pretrained(scale.small_depth, head_layers=2, selector=0, other_selectors=(1,)),
    }


def plan(scale: Scale, output: pathlib.Path) -> list[Stage]:
    """All runs, each behind the one that it starts from.

    Args:
        scale: The sizes.
        output: Where the images and the runs are.
    """
    common = {
        "dataset": "image_folder",
        "data_dir": output / IMAGES,
        "cache_dataset": True,
        "image_size": scale.image_size,
        "precision": scale.precision,
        "random_flip": True,
        "keep_hub_module_max": 0,
        "report_images": 0,
        "keep_checkpoint_max": 1,
    }
    stages = [*_pretraining(scale), *_finetuning(scale), *_distillation(scale), *_scratch(scale)]
    return [dataclasses.replace(stage, flags={**common, **stage.flags}) for stage in stages]


def needed(stages: Sequence[Stage], claims: Iterable[Claim], seeds: Sequence[int]) -> list[Stage]:
    """The runs that claims are measured of, and those that they start from, in the plan's order."""
    by_name = {stage.name: stage for stage in stages}
    names = {f"{arm.stage}_{seed}" for claim in claims for arm in claim.arms for seed in seeds}
    waiting = list(names)
    while waiting:
        start = by_name[waiting.pop()].start
        if start is not None and start not in names:
            names.add(start)
            waiting.append(start)
    return [stage for stage in stages if stage.name in names]


def _pretraining(scale: Scale) -> Iterator[Stage]:
    length = {"train_epochs": scale.pretrain_epochs, "checkpoint_epochs": 1}
    for name, network in pretrained_networks(scale).items():
        memory = {"memory_size": scale.memory_size, "memory_decay": scale.memory_decay}
        for seed in scale.seeds:
            yield Stage(
                f"pretrained_{name}_{seed}",
                "digits_pretrain",
                {
                    **length,
                    **(memory if network.memory else {}),
                    "train_batch_size": scale.pretrain_batch_size,
                    "resnet_depth": network.depth,
                    "num_proj_layers": network.head_layers,
                    "eval_protocols": "online,linear" if network.probed else "online",
                    "probe_labels_per_class": 0,
                    "seed": seed,
                },
            )


def _finetuning(scale: Scale) -> Iterator[Stage]:
    for network_name, network in pretrained_networks(scale).items():
        selectors = {network_name: network.selector}
        selectors |= {f"{network_name}_layer{layer}": layer for layer in network.other_selectors}
        for (name, selector), fraction in itertools.product(selectors.items(), network.fractions):
            for seed in scale.seeds:
                yield Stage(
                    f"finetuned_{name}_{fraction}_{seed}",
                    "digits_finetune",
                    {
                        **_labels(scale, fraction, seed),
                        **_steps(scale.finetune_steps),
                        "resnet_depth": network.depth,
                        "num_proj_layers": network.head_layers,
                        "ft_proj_selector": selector,
                    },
                    start=f"pretrained_{network_name}_{seed}",
                )


def _distillation(scale: Scale) -> Iterator[Stage]:
    length = {"train_epochs": scale.distil_epochs, "checkpoint_epochs": 1}
    for student, depth in {"big": scale.big_depth, "small": scale.small_depth}.items():
        for alpha in ALPHAS:
            for seed in scale.seeds:
                yield Stage(
                    f"distilled_{student}_alpha{alpha}_{seed}",
                    "digits_distill",
                    {
                        **length,
                        "resnet_depth": depth,
                        "distill_alpha": alpha,
                        "label_fraction": FRACTIONS["1pct"],
                        "label_seed": seed,
                        "labelled_batch_size": scale.label_batch_size,
                        "seed": seed,
                    },
                    start=f"finetuned_big_1pct_{seed}",
                    start_flag="teacher",
                )


def _scratch(scale: Scale) -> Iterator[Stage]:
    for fraction in FRACTIONS:
        for seed in scale.seeds:
            yield Stage(
                f"scratch_big_{fraction}_{seed}",
                "digits_supervised",
                {
                    **_labels(scale, fraction, seed),
                    **_steps(scale.scratch_steps),
                    "resnet_depth": scale.big_depth,
                },
            )


def _labels(scale: Scale, fraction: str, seed: int) -> dict[str, object]:
    return {
        "train_split": "train",
        "labels_per_class": 0,
        "train_batch_size": scale.label_batch_size,
        "label_fraction": FRACTIONS[fraction],
        "label_seed": seed,
        "seed": seed,
    }


def _steps(steps: int) -> dict[str, object]:
    return {"train_steps": steps, "checkpoint_steps": steps}
