"""The claims of the paper, as comparisons of runs."""

from __future__ import annotations

import dataclasses

from benchmarks.stages import TOP_1

LINEAR = "linear/final_avg_pool/top_1_accuracy"


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


def claims() -> tuple[Claim, ...]:
    """All five."""
    return (_bigger_models(), _deeper_head(), _memory(), _distillation(), _supervised())


BIG_1, BIG_10 = (
    Arm(f"big network, {percent} % of the labels", f"finetuned_big_{percent}pct") for percent in (1, 10)
)
SMALL_1, SMALL_10 = (
    Arm(f"small network, {percent} % of the labels", f"finetuned_small_{percent}pct") for percent in (1, 10)
)


def _bigger_models() -> Claim:
    return Claim(
        "a",
        "The fewer the labels, the more a bigger network gains",
        (BIG_1, SMALL_1, BIG_10, SMALL_10),
        (
            Comparison("the big network is better with 1 %", (BIG_1,), (SMALL_1,)),
            Comparison("its lead is larger with 1 % than with 10 %", (BIG_1, SMALL_10), (SMALL_1, BIG_10)),
        ),
    )


def _deeper_head() -> Claim:
    comparisons, arms = [], []
    for percent in (1, 10):
        h, first, second = (
            Arm(f"3 layers, from layer {layer}, {percent} %", f"finetuned_small{stage}_{percent}pct")
            for layer, stage in ((0, "_layer0"), (1, ""), (2, "_layer2"))
        )
        shallow_h, shallow_first = (
            Arm(f"2 layers, from layer {layer}, {percent} %", f"finetuned_shallow_head{stage}_{percent}pct")
            for layer, stage in ((0, ""), (1, "_layer1"))
        )
        arms += [h, first, second, shallow_h, shallow_first]
        comparisons += [
            Comparison(f"the deeper head is better with {percent} %", (first,), (shallow_h,)),
            Comparison(f"its first layer is better than h with {percent} %", (first,), (h,)),
        ]
    title = "A deeper projection head, fine-tuned from its first layer, is better"
    return Claim("b", title, tuple(arms), tuple(comparisons))


def _memory() -> Claim:
    probes = (
        Arm("with memory, linear probe", "pretrained_memory", LINEAR),
        Arm("without, linear probe", "pretrained_small", LINEAR),
    )
    finetuned = (
        Arm("with memory, fine-tuned with 1 %", "finetuned_memory_1pct"),
        Arm("without, fine-tuned with 1 %", "finetuned_small_1pct"),
    )
    return Claim(
        "c",
        "A memory of negatives helps a little",
        (*probes, *finetuned),
        (
            Comparison("memory is better in the linear probe", probes[:1], probes[1:]),
            Comparison("memory is better when fine-tuned with 1 %", finetuned[:1], finetuned[1:]),
        ),
    )


def _distillation() -> Claim:
    teacher = Arm("the teacher, big, fine-tuned with 1 %", BIG_1.stage)
    big_labels, big_half, big_none = (
        Arm(f"big student, alpha {alpha}", f"distilled_big_alpha{alpha}") for alpha in (0.0, 0.5, 1.0)
    )
    small_labels, small_half, small_none = (
        Arm(f"small student, alpha {alpha}", f"distilled_small_alpha{alpha}") for alpha in (0.0, 0.5, 1.0)
    )
    return Claim(
        "d",
        "Distilling on unlabelled images beats the labels alone, and self-distillation its teacher",
        (teacher, big_labels, big_half, big_none, small_labels, small_half, small_none),
        (
            Comparison("big student: alpha 1 beats labels alone", (big_none,), (big_labels,)),
            Comparison("big student: alpha 1 beats its teacher", (big_none,), (teacher,)),
            Comparison("small student: alpha 1 beats labels alone", (small_none,), (small_labels,)),
            Comparison("small student: alpha 0.5 beats labels alone", (small_half,), (small_labels,)),
        ),
    )


def _supervised() -> Claim:
    scratch_1, scratch_10 = (
        Arm(f"from scratch, {percent} %", f"scratch_big_{percent}pct") for percent in (1, 10)
    )
    tuned_1, tuned_10 = (
        Arm(f"pretrained and fine-tuned, {percent} %", f"finetuned_big_{percent}pct") for percent in (1, 10)
    )
    return Claim(
        "e",
        "Pretraining beats supervised training on the same labels, most with few",
        (tuned_1, scratch_1, tuned_10, scratch_10),
        (
            Comparison("pretraining is better with 1 %", (tuned_1,), (scratch_1,)),
            Comparison("pretraining is better with 10 %", (tuned_10,), (scratch_10,)),
            Comparison(
                "its lead is larger with 1 % than with 10 %", (tuned_1, scratch_10), (scratch_1, tuned_10)
            ),
        ),
    )
