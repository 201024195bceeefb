"""Finds unwise settings: each rule says what is unwise, why, and what to do instead.

What the papers recommend is from SimCLR (Chen et al. 2020, arXiv 2002.05709) and SimCLRv2 (arXiv 2006.10029).
A rule gives no advice if in doubt.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from tf_simclrv2.data.some_names import some_names
from tf_simclrv2.doctor.image_sample import ImageSample
from tf_simclrv2.doctor.machine import Machine
from tf_simclrv2.doctor.trial import Trial
from tf_simclrv2.training.plan import RunPlan


@dataclasses.dataclass(frozen=True)
class Case:
    """A run on a machine, as the rules examine it.

    Attributes:
        plan: The run.
        machine: The machine that it would run on.
        images: Properties of some of its training images.
        memory_mb: The estimated peak memory of training.
        trial: The timing of some steps; None if none were tried.
        on_gpu_mb: The estimated peak of a step in the memory of a GPU; None without one.
    """

    plan: RunPlan
    machine: Machine
    images: ImageSample
    memory_mb: float
    trial: Trial | None = None
    on_gpu_mb: float | None = None

    @property
    def pretraining(self) -> bool:
        return self.plan.config.training.train_mode == "pretrain"

    @property
    def batch(self) -> int:
        return self.plan.config.training.train_batch_size


Rule = Callable[[Case], str | None]


def learning_rate_far_from_the_papers(case: Case) -> str | None:
    """Compares the peak with 0.3 · batch / 256 and 0.1 · √batch (SimCLR B.1, SimCLRv2 section 3)."""
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
    """Prefers square-root scaling for small batches and short runs (SimCLR appendix B.1)."""
    optimizer = case.plan.config.optimizer
    root = 0.075 * math.sqrt(case.batch)
    linear = optimizer.optimizer == "lars" and optimizer.learning_rate_scaling == "linear"
    if not case.pretraining or not linear or case.plan.schedule.peak >= root / 4:
        return None
    return (
        f"learning rate: linear scaling gives {case.plan.schedule.peak:.3g} for a batch of {case.batch}, "
        f"and the papers' square-root scaling {root:.3g}, which learns faster from small batches; try "
        "--learning_rate=0.075 --learning_rate_scaling=sqrt."
    )


def rate_of_another_optimizer(case: Case) -> str | None:
    """Warns of a rate for LARS, which scales it by the norm of the weights, given to Adam, which does not."""
    if case.plan.config.optimizer.optimizer != "adam" or case.plan.schedule.peak <= 0.01:
        return None
    return (
        f"learning rate: {case.plan.schedule.peak:.3g} suits LARS, and Adam will not converge with it; "
        "choose --learning_rate so that the peak is near 0.001."
    )


def few_steps_of_warmup(case: Case) -> str | None:
    """Warns of a short warm-up, without which large rates of LARS diverge (SimCLR section 2.2: 10 epochs)."""
    schedule = case.plan.schedule
    large = case.plan.config.optimizer.optimizer == "lars" and schedule.peak >= 1.0
    if not case.pretraining or not large or schedule.warmup_steps >= 10:
        return None
    return (
        f"warm-up: {schedule.warmup_steps} steps are few for a rate of {schedule.peak:.3g}, and training may "
        "diverge at the start; raise --warmup_epochs to a tenth of the run."
    )


def warmup_takes_the_run(case: Case) -> str | None:
    """Warns of a run that ends during or soon after its warm-up, so that the rate never falls."""
    schedule = case.plan.schedule
    if schedule.warmup_steps <= schedule.total_steps / 2:
        return None
    return (
        f"warm-up: {schedule.warmup_steps:,} of {schedule.total_steps:,} steps leave too few for the rate to "
        "fall again; lower --warmup_epochs to a tenth of the run."
    )


def blur_on_small_images(case: Case) -> str | None:
    """Warns of blur on small images; SimCLR appendix B.9 omits it for CIFAR-10."""
    config = case.plan.config
    if not case.pretraining or not config.data.use_blur or config.model.image_size > 32:
        return None
    return (
        f"blur: at {config.model.image_size} px it removes most of the detail, and the paper omits it for "
        "CIFAR-10; pass --use_blur=false."
    )


def images_of_one_color(case: Case) -> str | None:
    """Warns of constant images, whose views cannot be told apart."""
    if not case.images.constant:
        return None
    return (
        f"images: {case.images.constant} of {case.images.count} that were examined have a single color; "
        f"check how the files of {case.plan.train_source.name} were written."
    )


def images_nearly_black(case: Case) -> str | None:
    """Warns of a wrong range, such as 12 bits in a 16-bit file, or [0, 1] written as integers."""
    if not case.images.count or case.images.brightest > 0.1:
        return None
    return (
        f"images: the brightest value in the {case.images.count} that were examined is "
        f"{case.images.brightest:.3f} of 1, so their range is wrong; scale their values to the full range of "
        "8 or 16 bits when you write them."
    )


def images_unreadable(case: Case) -> str | None:
    """Warns of unreadable images, which are skipped until there are too many."""
    if not case.images.unreadable:
        return None
    total = case.images.count + case.images.unreadable
    return (
        f"images: {case.images.unreadable} of {total} that were examined cannot be read and will be "
        f"skipped ({some_names(case.images.names)}); repair them, or raise --max_skipped_fraction if "
        "the run stops."
    )


def images_transparent(case: Case) -> str | None:
    """Names the color behind transparent images, which a network sees as part of the picture."""
    if not case.images.transparent:
        return None
    return (
        f"images: {case.images.transparent} of {case.images.count} that were examined are transparent and "
        f"are composited onto {case.plan.config.data.background}; choose another color with "
        "--background=R,G,B if they are hard to see on it."
    )


def images_enlarged(case: Case) -> str | None:
    """Warns of enlarged images, which cost more and hold no more information."""
    size, side = case.plan.config.model.image_size, case.images.median_side
    if not case.images.count or size < 2 * side:
        return None
    return (
        f"image size: the images are {side:.0f} px and would be enlarged to {size}, which costs "
        f"{(size / side) ** 2:.0f} times as much and adds no information; try "
        f"--image_size={max(8, round(side))}."
    )


def evaluation_without_labels(case: Case) -> str | None:
    """Warns of an evaluation without labels; all evaluation needs classes."""
    plan = case.plan
    protocols = [name for name in plan.config.evaluation.protocols if name != "online"]
    lacking = [s.name for s in (plan.train_source, plan.eval_source) if s is not None and not s.has_labels]
    if plan.config.run.mode == "train" or not lacking or not (protocols or plan.config.model.num_classes):
        return None
    cure = "--eval_protocols=online" if protocols else "--mode=train"
    return (
        f"labels: --mode={plan.config.run.mode} evaluates with labels, and {' and '.join(lacking)} "
        f"has none; put each class into a subfolder, or use {cure}."
    )


def batch_larger_than_dataset(case: Case) -> str | None:
    """Warns of images that occur twice in a step; pretraining refuses this."""
    images = case.plan.train_source.num_examples
    if case.batch <= images:
        return None
    return (
        f"batch: {case.batch} images per step, but {case.plan.train_source.name} has {images}, so some count "
        f"twice; use --train_batch_size={images} or less."
    )


def labeled_batch_larger_than_labels(case: Case) -> str | None:
    """Warns of labeled images that occur twice in a step, which costs time and adds nothing."""
    labeled, batch = case.plan.labeled_source, case.plan.config.labeled_batch_size
    if labeled is None or batch <= labeled.num_examples:
        return None
    return (
        f"labeled batch: {batch} images per step, but {labeled.name} has {labeled.num_examples}, so some "
        f"count twice; use --labeled_batch_size={labeled.num_examples} or less."
    )


def few_negatives(case: Case) -> str | None:
    """Warns of few negatives, which cost accuracy, most of all in short runs (SimCLR section 5)."""
    if not case.pretraining or case.batch >= 128 or case.plan.config.objective.memory_size:
        return None
    return (
        f"batch: {case.batch} images give {2 * case.batch - 2} negatives, and accuracy falls with fewer than "
        "a few hundred; raise --train_batch_size (--microbatch_size keeps its memory small), or add "
        "--memory_size."
    )


def memory_of_few_batches(case: Case) -> str | None:
    """Warns of a small memory bank; SimCLRv2 section 3 uses 65536 keys, 16 batches of 4096."""
    size = case.plan.config.objective.memory_size
    if not size or size >= 8 * 2 * case.batch:
        return None
    return (
        f"memory bank: {size:,} keys are {size / (2 * case.batch):.1f} batches, which adds few negatives for "
        f"the cost of a second network; use --memory_size={16 * 2 * case.batch} or 0."
    )


def memory_larger_than_dataset(case: Case) -> str | None:
    """Warns of a memory bank in which an image is among its own negatives."""
    size, images = case.plan.config.objective.memory_size, case.plan.train_source.num_examples
    if size <= 2 * images:
        return None
    return (
        f"memory bank: {size:,} keys of {images:,} images hold each image more than once, so that it is a "
        f"negative of itself; use --memory_size of {images:,} or less."
    )


def unusual_temperature(case: Case) -> str | None:
    """Warns of a temperature outside 0.05 to 1; 0.1 to 0.5 are best (SimCLR table 5)."""
    temperature = case.plan.config.objective.temperature
    if not case.pretraining or 0.05 <= temperature < 1.0 or not case.plan.config.objective.hidden_norm:
        return None
    return f"temperature: {temperature:g} is outside the range that works; use --temperature of 0.1 to 0.5."


def small_parts_for_batch_norm(case: Case) -> str | None:
    """Warns of small micro-batches, since each has its own batch-norm statistics."""
    part = case.plan.config.training.microbatch_size
    if not part or part >= 16:
        return None
    return (
        f"micro-batch: batch-norm statistics of only {part} images are noisy; use "
        "--microbatch_size=16 or more."
    )


def fine_tuning_from_nothing(case: Case) -> str | None:
    """Warns of fine-tuning without a checkpoint to start from."""
    if case.plan.config.training.train_mode != "finetune" or case.plan.config.run.checkpoint:
        return None
    return (
        "checkpoint: fine-tuning would start from random weights; pass --checkpoint, or use "
        "--train_mode=supervised if that is intended."
    )


def half_precision_left_out_on_a_gpu(case: Case) -> str | None:
    """Warns of float32 on a GPU, whose units for half precision are several times as fast."""
    if not case.machine.has_gpu or case.plan.config.training.precision != "float32":
        return None
    # bfloat16 came with compute capability 8.0.
    old = case.machine.compute_capability is not None and case.machine.compute_capability < (8, 0)
    half = "mixed_float16" if old else "mixed_bfloat16"
    return (
        "precision: float32 does not use the GPU's half-precision units, which are several times as fast, "
        f"and takes twice the memory; pass --precision={half}."
    )


def precision_slow_here(case: Case) -> str | None:
    """Compares the measured speeds of the precisions; the processor's model name does not count."""
    precision, gain = case.plan.config.training.precision, case.machine.bfloat16_gain
    if precision == "mixed_bfloat16" and gain < 0.9:
        return (
            f"precision: a convolution in bfloat16 is only {gain:.2f} times as fast as in float32 on this "
            "machine; use --precision=float32, unless memory is short."
        )
    if precision == "float32" and gain > 1.3 and not case.machine.has_gpu:
        return (
            f"precision: a convolution in bfloat16 is {gain:.1f} times as fast as in float32 on this "
            "machine; try --precision=mixed_bfloat16."
        )
    if precision == "mixed_float16" and not case.machine.devices:
        return "precision: float16 is for GPUs and slow on a CPU; use --precision=mixed_bfloat16 or float32."
    if precision == "float64":
        return "precision: float64 is for comparisons, at half the speed or less; use --precision=float32."
    return None


def more_memory_than_there_is(case: Case) -> str | None:
    """Warns of a run that the system would end, or slow down by swapping, or that fits no GPU."""
    whose, needed, there = "machine", case.memory_mb, case.machine.memory_mb
    if case.machine.devices:
        whose, needed, there = "GPU", case.on_gpu_mb, case.machine.card_mb
    if needed is None or there is None or needed <= 0.9 * there:
        return None
    return (
        f"memory of the step: it needs about {needed:,.0f} MB of the {whose}'s {there:,.0f}; use "
        "--microbatch_size, --rematerialize or a smaller --train_batch_size."
    )


def waits_for_data(case: Case) -> str | None:
    """Warns of a slow input pipeline, during which the network is idle."""
    if case.trial is None or case.trial.data_wait <= 0.3:
        return None
    return (
        f"data: {case.trial.data_wait:.0%} of the trial was spent waiting for batches; use smaller files, "
        "--cache_dataset, or --tf_data_service on other hosts."
    )


def loss_not_finite(case: Case) -> str | None:
    """Warns of a loss that is not finite, at which the run would stop."""
    if case.trial is None or math.isfinite(case.trial.loss):
        return None
    return "loss: it was not finite in the trial; lower --learning_rate, or raise --warmup_epochs."


def hours_between_checkpoints(case: Case) -> str | None:
    """Warns of rare checkpoints: a killed run loses what it computed since the last one."""
    if case.trial is None:
        return None
    steps = min(case.plan.checkpoint_interval, case.plan.steps)
    hours = steps * case.trial.step_s / 3600
    if hours <= 2.0:
        return None
    return (
        f"checkpoints: one is saved every {hours:.1f} hours, and a killed run loses everything since the "
        f"last one; try --checkpoint_steps={max(1, round(1800 / case.trial.step_s))}."
    )


def seconds_between_checkpoints(case: Case) -> str | None:
    """Warns of frequent checkpoints, which interrupt the training."""
    if case.trial is None:
        return None
    seconds = case.plan.checkpoint_interval * case.trial.step_s
    if seconds >= 10.0 or case.plan.steps <= 5 * case.plan.checkpoint_interval:
        return None
    return (
        f"checkpoints: one every {seconds:.1f} seconds slows training down; "
        f"try --checkpoint_steps={max(1, round(300 / case.trial.step_s))}."
    )


RULES: tuple[Rule, ...] = (
    learning_rate_far_from_the_papers,
    small_batch_under_linear_scaling,
    rate_of_another_optimizer,
    few_steps_of_warmup,
    warmup_takes_the_run,
    blur_on_small_images,
    images_of_one_color,
    images_nearly_black,
    images_unreadable,
    images_transparent,
    images_enlarged,
    evaluation_without_labels,
    batch_larger_than_dataset,
    labeled_batch_larger_than_labels,
    few_negatives,
    memory_of_few_batches,
    memory_larger_than_dataset,
    unusual_temperature,
    small_parts_for_batch_norm,
    fine_tuning_from_nothing,
    half_precision_left_out_on_a_gpu,
    precision_slow_here,
    more_memory_than_there_is,
    waits_for_data,
    loss_not_finite,
    hours_between_checkpoints,
    seconds_between_checkpoints,
)


def advise(case: Case) -> tuple[str, ...]:
    """Applies all rules to a case, and returns their advice in the order of `RULES`."""
    return tuple(advice for rule in RULES if (advice := rule(case)))
