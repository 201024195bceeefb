"""Examines a configuration on this machine: builds and traces the step, tries it, and collects advice."""

from __future__ import annotations

import dataclasses
import math

import tensorflow as tf

from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.data import Share
from tf_simclrv2.distribution.compilation import COMPILING, compiled
from tf_simclrv2.distribution.compilation_cache import keep_compiled_steps
from tf_simclrv2.distribution.device_errors import cures_of_training, device_errors_explained
from tf_simclrv2.doctor.advice import Case, advise
from tf_simclrv2.doctor.doctor_config import DoctorConfig
from tf_simclrv2.doctor.image_sample import ImageSample, sample_images
from tf_simclrv2.doctor.machine import MEGABYTE, Machine, free_mb, look_at_machine, resident_mb
from tf_simclrv2.doctor.memory_estimate import estimated_mb, on_gpu_mb
from tf_simclrv2.doctor.trial import Trial, run_trial
from tf_simclrv2.errors import RunError
from tf_simclrv2.models.variable_paths import named_variables
from tf_simclrv2.progress import Say, phase, say_at_once
from tf_simclrv2.tasks import Task
from tf_simclrv2.training.plan import RunPlan
from tf_simclrv2.training.preparation import prepare
from tf_simclrv2.training.training_loop import STEPS_PER_LOOP

# The batch of the current step, and those that the pipeline has prefetched.
BATCHES_IN_MEMORY = 3
# The share of free memory that a trial must leave unused; it is skipped otherwise.
SPARED = 0.05


@dataclasses.dataclass(frozen=True)
class Checkup:
    """The findings of an examination.

    Attributes:
        machine: The machine.
        description: The run, with all choices resolved, in a few lines.
        parameters: The number of weights that are trained.
        steps: The training steps of the whole run.
        checkpoint_mb: The size of one checkpoint.
        checkpoints_kept: The number of checkpoints that the run keeps.
        memory_mb: The estimated peak memory of training.
        on_gpu_mb: The estimated peak of a step in the memory of a GPU; None without one.
        images: Properties of some training images.
        trial: The timing of the steps that were tried; None if none were.
        no_trial: Why no steps were tried; else empty.
        hours: The estimated time of the whole training; None without a trial.
        advice: A sentence or two for each unwise setting.
    """

    machine: Machine
    description: str
    parameters: int
    steps: int
    checkpoint_mb: float
    checkpoints_kept: int
    memory_mb: float
    on_gpu_mb: float | None
    images: ImageSample
    trial: Trial | None
    no_trial: str
    hours: float | None
    advice: tuple[str, ...]


def examine(
    config: ExperimentConfig, trial_steps: int = DoctorConfig.trial_steps, say: Say = say_at_once
) -> Checkup:
    """Examines a configuration on this machine, on one device.

    Use it before a long run: settings that the run would refuse are refused here, and the time and memory
    that it needs are estimated in about a minute.

    Args:
        config: The run. Nothing is written to its `model_dir`.
        trial_steps: Training steps to try; 20 by default, 0 tries none.
        say: Receives a line now and then if something takes long; prints it by default.

    Raises:
        UserError: The run would refuse the settings or the data.
        RunError: The run would not start on this machine, or the trial does not fit into its memory or has
            an operation that XLA cannot compile.
    """
    keep_compiled_steps(config.run.compile_cache)
    with phase("measuring this machine", say):
        machine = look_at_machine()
    if machine.unused_gpus:
        raise RunError(machine.unused_gpus)
    prepared = prepare(config, tf.distribute.get_strategy(), say)
    plan, task = prepared.plan, prepared.task
    with phase("looking at some images", say):
        images = sample_images(plan.train_source)
    with phase("preparing the batches", say):
        batches = prepared.batches.training({}, Share())
    step = tf.function(compiled(task.train_step, task.compile_mode))
    with phase("estimating the memory", say):
        graph = step.get_concrete_function(batches.element_spec).graph
        memory_mb = estimated_mb(graph, _input_bytes(batches))
        gpu_mb = on_gpu_mb(graph, _input_bytes(batches)) if machine.has_gpu else None
    trial, no_trial = None, "trial_steps is 0"
    if trial_steps:
        no_trial = _why_not(memory_mb, machine)
        if not no_trial:
            if task.compile_mode != "none":
                say(COMPILING)
            cures = cures_of_training(plan.config.training)
            with prepared.skipped.explained(), device_errors_explained(cures):
                trial = run_trial(step, batches, plan.config.images_per_step, trial_steps, say)
    checkpoint_mb = _checkpoint_bytes(task) / MEGABYTE
    return Checkup(
        machine=machine,
        description=plan.describe(),
        parameters=sum(math.prod(weight.shape) for weight in task.network.trainable_variables),
        steps=plan.steps,
        checkpoint_mb=checkpoint_mb,
        checkpoints_kept=_checkpoints_kept(plan),
        memory_mb=memory_mb,
        on_gpu_mb=gpu_mb,
        images=images,
        trial=trial,
        no_trial="" if trial else no_trial,
        hours=plan.steps * trial.step_s / 3600 if trial else None,
        advice=advise(Case(plan, machine, images, memory_mb, trial, gpu_mb)),
    )


def _why_not(memory_mb: float, machine: Machine) -> str:
    """Returns why a trial is not safe; empty if it is."""
    if machine.devices:
        return ""  # The memory of accelerators counts; what does not fit ends the trial with a sentence.
    limit = resident_mb() + free_mb() * (1 - SPARED)  # Now that the network has taken some of it.
    return f"it would need {memory_mb:,.0f} MB" if memory_mb > limit else ""


def _input_bytes(batches: tf.data.Dataset) -> int:
    one = sum(math.prod(spec.shape) * spec.dtype.size for spec in tf.nest.flatten(batches.element_spec))
    return BATCHES_IN_MEMORY * one


def _checkpoint_bytes(task: Task) -> int:
    """Returns the size of what `training_checkpoint` saves."""
    variables = (
        *named_variables(task.network).values(),
        *named_variables(task.optimizer).values(),
        *task.checkpoint_state().values(),
    )
    return sum(math.prod(variable.shape) * variable.value.dtype.size for variable in variables)


def _checkpoints_kept(plan: RunPlan) -> int:
    """How many there are at the end: after the first loop, every interval and the last step, and the best."""
    run, interval = plan.config.run, plan.checkpoint_interval
    first_loop = min(run.steps_per_loop or STEPS_PER_LOOP, interval)
    saved = {first_loop, *range(interval, plan.steps + 1, interval)[: run.keep_checkpoint_max], plan.steps}
    newest = min(run.keep_checkpoint_max, len({step for step in saved if step <= plan.steps}))
    return newest + (run.keep_best != "none")
