"""The claims of the paper, as comparisons of runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from benchmarks.claims.names import ALPHAS, HEADS, percent, usual_layer
from benchmarks.claims.scale import Scale
from benchmarks.measuring.stages import TOP_1

LINEAR = "linear/final_avg_pool/top_1_accuracy"
LETTERS = "abcde"


@dataclasses.dataclass(frozen=True)
class Arm:
    """A row of a claim's table.

    Attributes:
        label: What it is called.
        stage: The runs that it is measured of, without their seeds.
        result: The number in their results.
    """

    label: str
    stage: str
    result: str = TOP_1


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What the paper finds to be positive: a sum of arms minus a sum of others."""

    label: str
    more: tuple[Arm, ...]
    less: tuple[Arm, ...]


@dataclasses.dataclass(frozen=True)
class Claim:
    """A claim.

    Attributes:
        letter: a to e.
        title: The claim in a few words.
        arms: What is measured.
        comparisons: What is compared, each with a verdict of its own.
    """

    letter: str
    title: str
    arms: tuple[Arm, ...]
    comparisons: tuple[Comparison, ...]


def claims(scale: Scale) -> tuple[Claim, ...]:
    """All five, of what a scale has."""
    made = (_bigger_models, _deeper_head, _memory, _distillation, _supervised)
    return tuple(make(scale) for make in made)


def _bigger_models(scale: Scale) -> Claim:
    big, small = (
        [
            Arm(f"{name} network, {_share(fraction)} of the labels", f"finetuned_{name}_{percent(fraction)}")
            for fraction in scale.fractions
        ]
        for name in ("big", "small")
    )
    return Claim(
        "a",
        "The fewer the labels, the more a bigger network gains",
        tuple(arm for both in zip(big, small, strict=True) for arm in both),
        tuple(_leads(scale, "the big network", big, small)),
    )


def _leads(scale: Scale, what: str, better: Sequence[Arm], worse: Sequence[Arm]) -> list[Comparison]:
    """That something leads with each share of the labels, and by more with the smallest than with others."""
    few, *more = shares = [_share(fraction) for fraction in scale.fractions]
    leads = [
        Comparison(f"{what} is better with {share}", (high,), (low,))
        for share, high, low in zip(shares, better, worse, strict=True)
    ]
    return leads + [
        Comparison(f"its lead is larger with {few} than with {many}", (better[0], low), (worse[0], high))
        for many, high, low in zip(more, better[1:], worse[1:], strict=True)
    ]


def _deeper_head(scale: Scale) -> Claim:
    comparisons, arms = [], []
    for fraction in scale.fractions:
        share = _share(fraction)
        by_head = {
            layers: _from_every_layer(layers, fraction) for layers in sorted(scale.heads, reverse=True)
        }
        arms += [arm for layers in by_head.values() for arm in layers]
        shallow = by_head[min(by_head)][0]
        for layers, (h, first, *_) in by_head.items():
            if layers > min(by_head):
                deep, flat = f"the {layers}-layer head", f"h of the {min(by_head)}-layer head"
                comparisons += [
                    Comparison(f"{share}: layer 1 of {deep} beats {flat}", (first,), (shallow,)),
                    Comparison(f"{share}: layer 1 of {deep} beats its h", (first,), (h,)),
                    Comparison(f"{share}: h of {deep} beats {flat}", (h,), (shallow,)),
                ]
    title = "A deeper projection head, fine-tuned from its first layer, is better"
    return Claim("b", title, tuple(arms), tuple(comparisons))


def _from_every_layer(head_layers: int, fraction: float) -> list[Arm]:
    """A head fine-tuned from each of its layers up to the last but one; 0 is h."""
    usual = usual_layer(head_layers)
    return [
        Arm(
            f"{head_layers} layers, from layer {layer}, {_share(fraction)}",
            f"finetuned_{HEADS[head_layers]}{'' if layer == usual else f'_layer{layer}'}_{percent(fraction)}",
        )
        for layer in range(head_layers)
    ]


def _memory(scale: Scale) -> Claim:
    few = scale.fractions[0]
    arms, comparisons = [], []
    for size in (None, *scale.memory_batches):
        at, batch = ("", "") if size is None else (f", batches of {size}", f"_batch{size}")
        for what, result, kind, share in (
            ("linear probe", LINEAR, "pretrained", ""),
            (f"fine-tuned with {_share(few)}", TOP_1, "finetuned", f"_{percent(few)}"),
        ):
            memory = Arm(f"with memory, {what}{at}", f"{kind}_memory{batch}{share}", result)
            without = Arm(f"without, {what}{at}", f"{kind}_small{batch}{share}", result)
            arms += [memory, without]
            where = "in the linear probe" if result == LINEAR else f"when {what}"
            comparisons.append(Comparison(f"memory is better {where}{at}", (memory,), (without,)))
    return Claim("c", "A memory bank of negatives helps a little", tuple(arms), tuple(comparisons))


def _distillation(scale: Scale) -> Claim:
    few = scale.fractions[0]
    teacher = Arm(f"the teacher, big, fine-tuned with {_share(few)}", f"finetuned_big_{percent(few)}")
    scratch = Arm(f"big network from scratch with {_share(few)}", f"scratch_big_{percent(few)}")
    big_labels, big_half, big_none = (
        Arm(f"big student, alpha {alpha}", f"distilled_big_alpha{alpha}") for alpha in ALPHAS
    )
    small_labels, small_half, small_none = (
        Arm(f"small student, alpha {alpha}", f"distilled_small_alpha{alpha}") for alpha in ALPHAS
    )
    return Claim(
        "d",
        "Distilling on unlabeled images beats the labels alone, and self-distillation its teacher",
        (teacher, scratch, big_labels, big_half, big_none, small_labels, small_half, small_none),
        (
            Comparison("big student: alpha 1 beats labels alone", (big_none,), (big_labels,)),
            Comparison("big student: alpha 1 beats training from scratch", (big_none,), (scratch,)),
            Comparison("big student: alpha 1 beats its teacher", (big_none,), (teacher,)),
            Comparison("small student: alpha 1 beats labels alone", (small_none,), (small_labels,)),
            Comparison("small student: alpha 0.5 beats labels alone", (small_half,), (small_labels,)),
        ),
    )


def _supervised(scale: Scale) -> Claim:
    scratch, tuned = (
        [
            Arm(f"{name}, {_share(fraction)}", f"{stage}_big_{percent(fraction)}")
            for fraction in scale.fractions
        ]
        for name, stage in (("from scratch", "scratch"), ("pretrained and fine-tuned", "finetuned"))
    )
    return Claim(
        "e",
        "Pretraining beats supervised training on the same labels, most with few",
        tuple(arm for both in zip(tuned, scratch, strict=True) for arm in both),
        tuple(_leads(scale, "pretraining", tuned, scratch)),
    )


def _share(fraction: float) -> str:
    return f"{round(100 * fraction)} %"
