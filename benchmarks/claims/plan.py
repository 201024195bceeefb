"""Which runs the claims need, and which start from which; claims share what they can."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from benchmarks.claims.claim import Claim
from benchmarks.claims.names import ALPHAS, HEADS, percent, usual_layer
from benchmarks.claims.scale import Scale

IMAGES = "images"
DISTILL_BATCH = 64
# Of the labels that there are, where the steps of a scale come to fewer.
FEWEST_EPOCHS = 10


@dataclasses.dataclass(frozen=True)
class Stage:
    """A run.

    Attributes:
        name: Its directory.
        piece: The part of the measurement that it belongs to; what it starts from belongs to it too.
        recipe: The recipe that it changes.
        flags: The changes.
        start: The stage whose network it starts from or is taught by; None needs no other.
        start_flag: The flag that takes that network.
    """

    name: str
    piece: str
    recipe: str
    flags: dict[str, object]
    start: str | None = None
    start_flag: Literal["checkpoint", "teacher"] = "checkpoint"


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """A pretrained network.

    Attributes:
        depth: Layers of its ResNet.
        fractions: Which shares of the labels it is fine-tuned with.
        head_layers: Layers of its projection head.
        selector: The layer of the head that it is fine-tuned from.
        other_selectors: Further layers, each of which it is fine-tuned from too.
        memory: Whether a memory bank of negatives is used.
        probed: Whether a linear probe is fitted to it.
        batch_size: Images per step; None for the scale's.
    """

    depth: int
    fractions: tuple[float, ...]
    head_layers: int = 3
    selector: int = 1
    other_selectors: tuple[int, ...] = ()
    memory: bool = False
    probed: bool = False
    batch_size: int | None = None


def pretrained_networks(scale: Scale) -> dict[str, Pretrained]:
    """The networks by name, the costliest first."""
    few = scale.fractions[:1]
    networks = {
        "big": Pretrained(scale.big_depth, scale.fractions),
        "memory": Pretrained(scale.small_depth, few, memory=True, probed=True),
    }
    for layers in sorted(scale.heads, reverse=True):
        selector = usual_layer(layers)
        networks[HEADS[layers]] = Pretrained(
            scale.small_depth,
            scale.fractions,
            head_layers=layers,
            selector=selector,
            other_selectors=tuple(layer for layer in range(layers) if layer != selector),
            probed=layers == 3,
        )
    for size in scale.memory_batches:
        for name, memory in (("memory", True), ("small", False)):
            networks[f"{name}_batch{size}"] = Pretrained(
                scale.small_depth, few, memory=memory, probed=True, batch_size=size
            )
    return networks


def pieces(stages: Sequence[Stage]) -> dict[str, list[Stage]]:
    """The parts that a measurement can be done in, each with what its runs start from.

    A part shares a pretraining with others, which is repeated where its weights are not there any more.
    """
    by_name = {stage.name: stage for stage in stages}
    found: dict[str, list[Stage]] = {}
    for piece in dict.fromkeys(stage.piece for stage in stages):
        names = {stage.name for stage in stages if stage.piece == piece}
        _add_starts(names, by_name)
        found[piece] = [stage for stage in stages if stage.name in names]
    return found


def plan(scale: Scale, output: pathlib.Path) -> list[Stage]:
    """All runs, each after the one that it starts from.

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
    _add_starts(names, by_name)
    return [stage for stage in stages if stage.name in names]


def _add_starts(names: set[str], by_name: Mapping[str, Stage]) -> None:
    """Adds the runs that some start from, and so on."""
    waiting = list(names)
    while waiting:
        start = by_name[waiting.pop()].start
        if start is not None and start not in names:
            names.add(start)
            waiting.append(start)


def _pretraining(scale: Scale) -> Iterator[Stage]:
    length = {"train_epochs": scale.pretrain_epochs, "checkpoint_epochs": 1}
    for name, network in pretrained_networks(scale).items():
        memory = {"memory_size": scale.memory_size, "memory_decay": scale.memory_decay}
        for seed in scale.seeds:
            yield Stage(
                f"pretrained_{name}_{seed}",
                f"{name}_{percent(network.fractions[0])}_{seed}",
                "digits_pretrain",
                {
                    **length,
                    **(memory if network.memory else {}),
                    "train_batch_size": network.batch_size or scale.pretrain_batch_size,
                    "learning_rate": scale.pretrain_rate,
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
                    f"finetuned_{name}_{percent(fraction)}_{seed}",
                    f"{network_name}_{percent(fraction)}_{seed}",
                    "digits_finetune",
                    {
                        **_labels(scale, fraction, seed),
                        **_steps(scale, scale.finetune_steps, fraction),
                        "learning_rate": scale.finetune_rate,
                        "resnet_depth": network.depth,
                        "num_proj_layers": network.head_layers,
                        "ft_proj_selector": selector,
                    },
                    start=f"pretrained_{network_name}_{seed}",
                )


def _distillation(scale: Scale) -> Iterator[Stage]:
    length = {"train_epochs": scale.distill_epochs, "checkpoint_epochs": 1}
    few = scale.fractions[0]
    students = {"big": (scale.big_depth, scale.self_temperature), "small": (scale.small_depth, 1.0)}
    for student, (depth, temperature) in students.items():
        for alpha in ALPHAS:
            for seed in scale.seeds:
                yield Stage(
                    f"distilled_{student}_alpha{alpha}_{seed}",
                    f"distilled_{student}_alpha{alpha}_{seed}",
                    "digits_distill",
                    {
                        **length,
                        "train_batch_size": DISTILL_BATCH,
                        "resnet_depth": depth,
                        "distill_alpha": alpha,
                        "distill_temperature": temperature,
                        "learning_rate": scale.distill_rate * (temperature**2 if alpha else 1.0),
                        "label_fraction": few,
                        "label_seed": seed,
                        "labeled_batch_size": scale.label_batch_size,
                        "seed": seed,
                    },
                    start=f"finetuned_big_{percent(few)}_{seed}",
                    start_flag="teacher",
                )


def _scratch(scale: Scale) -> Iterator[Stage]:
    for fraction in scale.fractions:
        for seed in scale.seeds:
            yield Stage(
                f"scratch_big_{percent(fraction)}_{seed}",
                f"scratch_{seed}",
                "digits_supervised",
                {
                    **_labels(scale, fraction, seed),
                    **_steps(scale, scale.scratch_steps, fraction),
                    "learning_rate": scale.scratch_rate,
                    "resnet_depth": scale.big_depth,
                },
            )


def _labels(scale: Scale, fraction: float, seed: int) -> dict[str, object]:
    return {
        "train_split": "train",
        "labels_per_class": 0,
        "train_batch_size": scale.label_batch_size,
        "label_fraction": fraction,
        "label_seed": seed,
        "seed": seed,
    }


def _steps(scale: Scale, least: int, fraction: float) -> dict[str, object]:
    epochs = FEWEST_EPOCHS * scale.train_images * fraction / scale.label_batch_size
    steps = max(least, round(epochs))
    return {"train_steps": steps, "checkpoint_steps": steps}
