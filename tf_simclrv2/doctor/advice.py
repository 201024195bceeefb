"""Unwise settings: each rule looks at a case and says what is unwise, why, and what to do instead.

The settings that the paper found good are from SimCLR (Chen et al. 2020, arXiv 2002.05709) and SimCLRv2
(arXiv 2006.10029). A rule is silent where it is in doubt.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from tf_simclrv2.doctor.image_sample import ImageSample
from tf_simclrv2.doctor.machine import Machine
from tf_simclrv2.doctor.trial import Trial
from tf_simclrv2.training.plan import RunPlan


@dataclasses.dataclass(frozen=True)
class Case:
    """What the rules look at.

    Attributes:
        plan: The run.
        machine: What it would run on.
        images: Some of its training images.
        memory_mb: Estimate of the most memory that training holds.
        trial: Some steps that were tried; None without.
    """

    plan: RunPlan
    machine: Machine
    images: ImageSample
    memory_mb: float
    trial: Trial | None = None

    @property
    def pretraining(self) -> bool:
        return self.plan.config.training.train_mode == "pretrain"

    @property
    def batch(self) -> int:
        return self.plan.config.training.train_batch_size


Rule = Callable[[Case], str | None]


def learning_rate_far_from_the_papers(case: Case) -> str | None:
    """SimCLR appendix B.1 and SimCLRv2 section 3: LARS at 0.3 · batch / 256, or at 0.075 or 0.1 · √batch."""
    if not case.pretraining or case.plan.config.optimizer.optimizer != "lars":
        return None
    peak, linear, root = case.plan.schedule.peak, 0.3 * case.batch / 256, 0.1 * math.sqrt(case.batch)
    low, high = min(linear, root), max(linear, root)
    if low / 2.5 <= peak <= 2.5 * high:
        return None
    return (
        f"learning rate: its peak is {peak:.3g}, far {'below' if peak < low else 'above'} what the papers "
        f"use for a batch of {case.batch} ({low:.3g} to {high:.3g}); try --learning_rate=0.1 "
        "--learning_rate_scaling=sqrt."
    )


def small_batch_under_linear_scaling(case: Case) -> str | None:
    """SimCLR appendix B.1: a root of the batch is better for small batches and short runs."""
    optimizer = case.plan.config.optimizer
    root = 0.075 * math.sqrt(case.batch)
    linear = optimizer.optimizer == "lars" and optimizer.learning_rate_scaling == "linear"
    if not case.pretraining or not linear or case.plan.schedule.peak >= root / 4:
        return None
    return (
        f"learning rate: linear scaling leaves {case.plan.schedule.peak:.3g} for a batch of {case.batch}, "
        f"and the papers' root scaling {root:.3g}, which learns faster from small batches; try "
        "--learning_rate=0.075 --learning_rate_scaling=sqrt."
    )


def rate_of_another_optimizer(case: Case) -> str | None:
    """Adam takes steps of the size of the rate, where LARS multiplies it with the norm of the weights."""
    if case.plan.config.optimizer.optimizer != "adam" or case.plan.schedule.peak <= 0.01:
        return None
    return (
        f"learning rate: {case.plan.schedule.peak:.3g} is LARS's size, and Adam will not converge with it; "
        "choose --learning_rate so that the peak is near 0.001."
    )


def few_steps_of_warmup(case: Case) -> str | None:
    """SimCLR section 2.2 warms up for 10 epochs of 100; without it large rates of LARS diverge."""
    schedule = case.plan.schedule
    large = case.plan.config.optimizer.optimizer == "lars" and schedule.peak >= 1.0
    if not case.pretraining or not large or schedule.warmup_steps >= 10:
        return None
    return (
        f"warm-up: {schedule.warmup_steps} steps to a rate of {schedule.peak:.3g} are few, and training may "
        "diverge at its start; raise --warmup_epochs to a tenth of the run."
    )


def warmup_takes_the_run(case: Case) -> str | None:
    """A run that ends in or soon after its warm-up never anneals its rate."""
    schedule = case.plan.schedule
    if schedule.warmup_steps <= schedule.total_steps / 2:
        return None
    return (
        f"warm-up: {schedule.warmup_steps:,} of {schedule.total_steps:,} steps leave too few for the rate to "
        "fall again; lower --warmup_epochs to a tenth of the run."
    )


def blur_on_small_images(case: Case) -> str | None:
    """SimCLR appendix B.9 leaves blur out on CIFAR-10."""
    config = case.plan.config
    if not case.pretraining or not config.data.use_blur or config.model.image_size > 32:
        return None
    return (
        f"blur: at {config.model.image_size} px it removes what there is to see, and the paper leaves it out "
        "on CIFAR-10; pass --use_blur=false."
    )


def images_of_one_colour(case: Case) -> str | None:
    """Two views of nothing are equal to those of any other nothing."""
    if not case.images.constant:
        return None
    return (
        f"images: {case.images.constant} of {case.images.count} that were looked at are of one colour; "
        f"check how the files of {case.plan.train_source.name} were written."
    )


def images_nearly_black(case: Case) -> str | None:
    """Such as 12 bits in a file of 16, or values in [0, 1] written as whole numbers."""
    if not case.images.count or case.images.brightest > 0.1:
        return None
    return (
        f"images: the brightest of {case.images.count} that were looked at reaches "
        f"{case.images.brightest:.3f} of 1, so their range is wrong; scale their values to all of 8 or 16 "
        "bits when you write them."
    )


def images_unreadable(case: Case) -> str | None:
    """Each is skipped, until there are too many."""
    if not case.images.unreadable:
        return None
    total = case.images.count + case.images.unreadable
    return (
        f"images: {case.images.unreadable} of {total} that were looked at cannot be read and will be "
        "skipped; repair them, or raise --max_skipped_fraction if the run stops."
    )


def images_enlarged(case: Case) -> str | None:
    """Enlarging adds cost and no information."""
    size, side = case.plan.config.model.image_size, case.images.median_side
    if not case.images.count or size < 2 * side:
        return None
    return (
        f"image size: the images are {side:.0f} px and would be enlarged to {size}, which costs "
        f"{(size / side) ** 2:.0f} times as much and shows nothing more; try "
        f"--image_size={max(8, round(side))}."
    )


def evaluation_without_labels(case: Case) -> str | None:
    """All evaluation is of classes."""
    plan = case.plan
    protocols = [name for name in plan.config.evaluation.protocols if name != "online"]
    lacking = [s.name for s in (plan.train_source, plan.eval_source) if s is not None and not s.has_labels]
    if plan.config.run.mode == "train" or not lacking or not (protocols or plan.config.model.num_classes):
        return None
    return (
        f"labels: --mode={plan.config.run.mode} evaluates with labels, and {' and '.join(lacking)} "
        "has none; put each class into a sub-folder, or use --mode=train."
    )


def batch_larger_than_dataset(case: Case) -> str | None:
    """Pretraining refuses it; other stages would see an image twice in a step."""
    images = case.plan.train_source.num_examples
    if case.batch <= images:
        return None
    return (
        f"batch: {case.batch} images a step, but {case.plan.train_source.name} has {images}, so some count "
        f"twice; use --train_batch_size={images} or less."
    )


def labelled_batch_larger_than_labels(case: Case) -> str | None:
    """A few labels make a step of many images slower, and say no more than once each."""
    labelled, batch = case.plan.labelled_source, case.plan.config.labelled_batch_size
    if labelled is None or batch <= labelled.num_examples:
        return None
    return (
        f"labelled batch: {batch} images a step, but {labelled.name} has {labelled.num_examples}, so some "
        f"count twice; use --labelled_batch_size={labelled.num_examples} or less."
    )


def few_negatives(case: Case) -> str | None:
    """SimCLR section 5: fewer negatives cost accuracy, most of all in short runs."""
    if not case.pretraining or case.batch >= 128 or case.plan.config.objective.memory_size:
        return None
    return (
        f"batch: {case.batch} images give {2 * case.batch - 2} negatives, and accuracy falls with fewer than "
        "some hundred; raise --train_batch_size (--microbatch_size keeps its memory small), or add "
        "--memory_size."
    )


def memory_of_few_batches(case: Case) -> str | None:
    """SimCLRv2 section 3: 65536 keys, 16 batches of 4096; a memory that a few steps replace adds little."""
    size = case.plan.config.objective.memory_size
    if not size or size >= 8 * 2 * case.batch:
        return None
    return (
        f"memory: {size:,} keys are {size / (2 * case.batch):.1f} batches, which adds few negatives for the "
        f"second network that it costs; use --memory_size={16 * 2 * case.batch} or 0."
    )


def memory_larger_than_dataset(case: Case) -> str | None:
    """Each image of the batch would be among its own negatives."""
    size, images = case.plan.config.objective.memory_size, case.plan.train_source.num_examples
    if size <= 2 * images:
        return None
    return (
        f"memory: {size:,} keys of {images:,} images hold each image more than once, as a negative of "
        f"itself; use --memory_size of {images:,} or less."
    )


def unusual_temperature(case: Case) -> str | None:
    """SimCLR table 5: 0.1 to 0.5 are good, 0.05 and 1 are worse."""
    temperature = case.plan.config.objective.temperature
    if not case.pretraining or 0.05 <= temperature < 1.0 or not case.plan.config.objective.hidden_norm:
        return None
    return f"temperature: {temperature:g} is outside of what works; use --temperature of 0.1 to 0.5."


def small_parts_for_batch_norm(case: Case) -> str | None:
    """Each part has batch-norm statistics of its own."""
    part = case.plan.config.training.microbatch_size
    if not part or part >= 16:
        return None
    return (
        f"micro-batch: batch norm's statistics would be of {part} images only, which is noisy; use "
        "--microbatch_size=16 or more."
    )


def fine_tuning_from_nothing(case: Case) -> str | None:
    """Fine-tuning begins where pretraining ended."""
    if case.plan.config.training.train_mode != "finetune" or case.plan.config.run.checkpoint:
        return None
    return (
        "checkpoint: fine-tuning would begin from random weights; pass --checkpoint, or say that it is meant "
        "with --train_mode=supervised."
    )


def precision_slow_here(case: Case) -> str | None:
    """By measurement rather than by what the processor calls itself."""
    precision, gain = case.plan.config.training.precision, case.machine.bfloat16_gain
    if precision == "mixed_bfloat16" and gain < 0.9:
        return (
            f"precision: a convolution in bfloat16 has {gain:.2f} times the speed of float32 here; use "
            "--precision=float32, unless memory is short."
        )
    if precision == "float32" and gain > 1.3:
        return (
            f"precision: a convolution in bfloat16 has {gain:.1f} times the speed of float32 here; "
            "try --precision=mixed_bfloat16."
        )
    if precision == "mixed_float16" and not case.machine.devices:
        return "precision: float16 is for GPUs and slow on a CPU; use --precision=mixed_bfloat16 or float32."
    if precision == "float64":
        return "precision: float64 is for comparisons, at half the speed or less; use --precision=float32."
    return None


def more_memory_than_there_is(case: Case) -> str | None:
    """The system ends a process that takes too much, or swaps."""
    if case.machine.devices or case.memory_mb <= 0.9 * case.machine.memory_mb:
        return None
    return (
        f"memory of the step: it needs about {case.memory_mb:,.0f} MB of the machine's "
        f"{case.machine.memory_mb:,.0f}; use --microbatch_size, --rematerialize or a smaller "
        "--train_batch_size."
    )


def waits_for_data(case: Case) -> str | None:
    """The network stands still meanwhile."""
    if case.trial is None or case.trial.data_wait <= 0.3:
        return None
    return (
        f"data: {case.trial.data_wait:.0%} of the trial was spent waiting for batches; use smaller files, "
        "--cache_dataset, or --tf_data_service on other hosts."
    )


def loss_not_finite(case: Case) -> str | None:
    """A run would stop there."""
    if case.trial is None or math.isfinite(case.trial.loss):
        return None
    return "loss: it was not finite in the trial; lower --learning_rate, or raise --warmup_epochs."


def hours_between_checkpoints(case: Case) -> str | None:
    """A kill loses what was computed since the last one."""
    if case.trial is None:
        return None
    steps = min(case.plan.checkpoint_interval, case.plan.steps)
    hours = steps * case.trial.step_s / 3600
    if hours <= 2.0:
        return None
    return (
        f"checkpoints: there are {hours:.1f} hours from one to the next, which a kill would lose; "
        f"try --checkpoint_steps={max(1, round(1800 / case.trial.step_s))}."
    )


def seconds_between_checkpoints(case: Case) -> str | None:
    """Writing one takes time, in which nothing is trained."""
    if case.trial is None:
        return None
    seconds = case.plan.checkpoint_interval * case.trial.step_s
    if seconds >= 10.0 or case.plan.steps <= 5 * case.plan.checkpoint_interval:
        return None
    return (
        f"checkpoints: one after every {seconds:.1f} seconds slows training down; "
        f"try --checkpoint_steps={max(1, round(300 / case.trial.step_s))}."
    )


RULES: tuple[Rule, ...] = (
    learning_rate_far_from_the_papers,
    small_batch_under_linear_scaling,
    rate_of_another_optimizer,
    few_steps_of_warmup,
    warmup_takes_the_run,
    blur_on_small_images,
    images_of_one_colour,
    images_nearly_black,
    images_unreadable,
    images_enlarged,
    evaluation_without_labels,
    batch_larger_than_dataset,
    labelled_batch_larger_than_labels,
    few_negatives,
    memory_of_few_batches,
    memory_larger_than_dataset,
    unusual_temperature,
    small_parts_for_batch_norm,
    fine_tuning_from_nothing,
    precision_slow_here,
    more_memory_than_there_is,
    waits_for_data,
    loss_not_finite,
    hours_between_checkpoints,
    seconds_between_checkpoints,
)


def advise(case: Case) -> tuple[str, ...]:
    """What the rules have to say of a case, in their order."""
    return tuple(advice for rule in RULES if (advice := rule(case)))
