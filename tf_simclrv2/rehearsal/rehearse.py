"""Compiles the step of a run for a slice, and finds the largest batch that fits."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.errors import ConfigError, RunError
from tf_simclrv2.progress import Say, phase, say_at_once
from tf_simclrv2.rehearsal.compiled_step import (
    CompiledStep,
    compile_step,
    make_cache,
    refuse_without_compiler,
)
from tf_simclrv2.rehearsal.rehearsal_config import Effort, RehearsalConfig
from tf_simclrv2.rehearsal.tpu_slice import TpuSlice
from tf_simclrv2.rehearsal.traced_step import traced_step
from tf_simclrv2.training.plan import refuse_uneven_batches, with_classes

# A TPU's registers hold 8 rows, so that other batches waste some of it.
ROWS = 8
# How often a smaller batch is compiled in search of the largest that fits.
ATTEMPTS = 4
# A first guess leaves this share of memory unused: not all of a program's memory shrinks with its batch.
SPARED = 0.1
# Images of a core, and the step with them.
Known = tuple[int, CompiledStep]


@dataclasses.dataclass(frozen=True)
class Rehearsal:
    """What was found about a run on a slice.

    Attributes:
        tpu: The slice.
        config: The run, with its number of classes.
        effort: How hard the compiler worked.
        step: The compiled step.
        largest_batch: The images of a core in the largest batch for which a program was found to fit; None
            if the batch that was asked for fits, 0 if none was found.
        largest_step: The compiled step of that batch.
    """

    tpu: TpuSlice
    config: ExperimentConfig
    effort: Effort
    step: CompiledStep
    largest_batch: int | None = None
    largest_step: CompiledStep | None = None

    @property
    def images_per_core(self) -> int:
        """Images of a core in each batch."""
        return batch_size(self.config) // self.tpu.replicas

    @property
    def fitting(self) -> tuple[int, CompiledStep] | None:
        """Images of a core in the largest batch that was found to fit, and its step; None if none was."""
        if self.step.fits:
            return self.images_per_core, self.step
        return (self.largest_batch, self.largest_step) if self.largest_batch and self.largest_step else None

    @property
    def least_seconds(self) -> float | None:
        """Seconds that the step of `fitting` takes at least.

        None if there is none, or a part of the step is repeated: the compiler counts its work once.
        """
        if self.fitting is None or parts_of_a_batch(self.config) > 1:
            return None
        step = self.fitting[1]
        return self.tpu.generation.least_seconds(step.flops, step.accessed)


def rehearse(config: ExperimentConfig, asked: RehearsalConfig, say: Say = say_at_once) -> Rehearsal:
    """Compiles what each core of a slice would run, and looks for a smaller batch if that does not fit.

    It needs minutes and no data. Only the shapes matter: weights are as initialized.

    Args:
        config: The run.
        asked: The slice, the number of classes, and how to compile.
        say: Receives a line now and then; prints it by default.

    Raises:
        ConfigError: The cores cannot share a batch, the compiler is not installed, or the step has an
            operation that a TPU cannot run.
        RunError: The compiler refuses the step for another reason.
    """
    refuse_without_compiler()
    make_cache(asked.cache)
    tpu, classes = asked.slice, asked.classes
    refuse_uneven_batches(config, tpu.replicas)
    training = config.training
    if training.precision == "float64":
        raise ConfigError("precision is 'float64', in which TPUs cannot sum; use float32 or mixed_bfloat16.")
    if training.train_mode == "pretrain" and not training.lineareval_while_pretraining:
        classes = 0
    config = with_classes(config, classes)

    def compiled(images: int) -> CompiledStep:
        with phase(f"tracing the step with {images} images per core", say):
            program = traced_step(with_images(config, images, tpu.replicas), tpu.replicas)
        with phase(f"compiling the step with {images} images per core for {tpu.name}", say):
            return compile_step(program, tpu, asked.cache, asked.effort)

    images = batch_size(config) // tpu.replicas
    step = compiled(images)
    if step.fits:
        return Rehearsal(tpu, config, asked.effort, step)

    def attempted(images: int) -> CompiledStep | None:
        try:
            return compiled(images)
        except RunError as error:  # The verdict on what was asked for took minutes, and stands.
            say(f"the search for a smaller batch ends early: {error}")
            return None

    least = 2 if training.train_mode == "pretrain" and tpu.replicas == 1 else 1  # To contrast with.
    largest = largest_that_fits(attempted, images, step, math.lcm(parts_of_a_batch(config), least))
    return Rehearsal(tpu, config, asked.effort, step, *(largest or (0, None)))


def largest_that_fits(
    compiled: Callable[[int], CompiledStep | None], images: int, step: CompiledStep, parts: int = 1
) -> tuple[int, CompiledStep] | None:
    """Finds the largest batch that fits from a few programs.

    It is a multiple of 8 images, unless fewer than that were asked for or no such multiple fits.

    The memory of a program is close to a linear function of its batch, until it is nearly full: then the
    compiler computes some of it twice. So each attempt follows the line through the largest program that
    fits and the smallest that does not, between which the answer is. The search ends where the line says
    that not even one unit more fits, or after some attempts.

    Args:
        compiled: Compiles the step for a number of images; None if this machine cannot, which is the end.
        images: A number that does not fit.
        step: Its step.
        parts: What the number must be a multiple of.

    Returns:
        The largest number of images that was found to fit, and its step; None if there is none.
    """
    best, failed = None, [(images, step)]
    unit = math.lcm(ROWS, parts)
    for _ in range(ATTEMPTS):
        if not best and failed[-1][0] <= unit:
            unit = parts
        smallest, largest = (best[0] if best else 0) + unit, (failed[-1][0] - 1) // unit * unit
        guess = int(_images_for(step.limit, best, failed)) // unit * unit
        if largest < smallest or (best and guess < smallest):
            break
        guess = min(max(guess, smallest), largest)
        found = compiled(guess)
        if found is None:
            break
        if found.fits:
            best = (guess, found)
        else:
            failed.append((guess, found))
    return best


def _images_for(limit: float, best: Known | None, failed: list[Known]) -> float:
    """The number of images with which a program would use all memory."""
    (x, step), *larger = failed[::-1]
    if not best and not larger:
        return x * limit * (1 - SPARED) / step.used
    x_2, other = best or larger[0]
    if step.used == other.used:
        return (x + x_2) / 2
    return x + (limit - step.used) * (x_2 - x) / (other.used - step.used)


def batch_size(config: ExperimentConfig) -> int:
    """Returns the batch of the mode that is rehearsed."""
    if config.run.mode == "eval":
        return config.evaluation.eval_batch_size
    return config.training.train_batch_size


def parts_of_a_batch(config: ExperimentConfig) -> int:
    """Returns how many parts of its batch a step computes one after the other; an evaluation has one."""
    return 1 if config.run.mode == "eval" else config.training.parts


def with_images(config: ExperimentConfig, images: int, cores: int) -> ExperimentConfig:
    """Returns the config with another batch; the labeled and the micro-batches change in proportion.

    Args:
        config: A run.
        images: Of a core, a multiple of `parts_of_a_batch`.
        cores: Each has as many, and in each part of a labeled batch at least one.
    """
    batch = images * cores
    if config.run.mode == "eval":
        evaluation = dataclasses.replace(config.evaluation, eval_batch_size=batch)
        return dataclasses.replace(config, evaluation=evaluation)
    parts, old = parts_of_a_batch(config), config.training.train_batch_size
    micro = batch // parts if config.training.microbatch_size else 0
    training = dataclasses.replace(config.training, train_batch_size=batch, microbatch_size=micro)
    labeled = config.labeled_batch_size and max(config.labeled_batch_size * images // old // parts, 1)
    distillation = dataclasses.replace(config.distillation, labeled_batch_size=labeled * parts * cores)
    return dataclasses.replace(config, training=training, distillation=distillation)
