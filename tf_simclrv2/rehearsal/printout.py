"""What a rehearsal found, as lines for a terminal and as JSON."""

from __future__ import annotations

from typing import Any

from tf_simclrv2.config import ExperimentConfig, ModelConfig
from tf_simclrv2.rehearsal.compiled_step import CompiledStep, compiler_versions
from tf_simclrv2.rehearsal.rehearse import Rehearsal, batch_size, parts_of_a_batch, with_images
from tf_simclrv2.rehearsal.run_step import teacher_model
from tf_simclrv2.rehearsal.tpu_slice import GIB

INDENT = 18
# The program of a TPU's run was seen to need 8 % more memory than that of --effort=quick.
NEARLY = 0.9
_QUICK = ", with --effort=quick: a TPU runs a faster program, whose memory differs by a few percent"
_ONE_PART = ", counting one part of the batch"


def printout(found: Rehearsal) -> str:
    """Formats a rehearsal."""
    step, tpu, config = found.step, found.tpu, found.config
    batch, images = batch_size(config), found.images_per_core
    model, training = config.model, config.training
    stage = "evaluation of the classifier" if config.run.mode == "eval" else training.train_mode
    lines = [
        f"rehearsal for {tpu.name}: {tpu.replicas} cores ({tpu.topology})",
        _line("step", f"{stage}, {_network(model)} at {model.image_size} px, {training.precision}"),
        *_of_the_teacher(config),
        _line("batch", f"{images} images per core, {batch:,} in all"),
        _line("fits", f"yes{_hardly(found, step)}" if step.fits else f"no{_largest(found)}"),
        _line("memory", _memory(step)),
    ]
    return "\n".join([*lines, *_of_what_fits(found)])


def as_json(found: Rehearsal) -> dict[str, Any]:
    """Returns the numbers of a rehearsal by name, in bytes, seconds and images."""
    return {
        "tpu": found.tpu.name,
        "topology": found.tpu.topology,
        "cores": found.tpu.replicas,
        "effort": found.effort,
        "compiler": compiler_versions(),
        "run": _run(found),
        "images_per_core": found.images_per_core,
        "largest_images_per_core": found.largest_batch,
        "largest_flags": found.largest_batch and _flags(found, found.largest_batch),
        "parts_of_a_batch": parts_of_a_batch(found.config),
        "least_seconds": found.least_seconds,
        "step": vars(found.step),
        "largest_step": found.largest_step and vars(found.largest_step),
    }


def _network(model: ModelConfig) -> str:
    return f"ResNet-{model.resnet_depth} ({model.width_multiplier}x{', SK' if model.sk_ratio else ''})"


def _of_the_teacher(config: ExperimentConfig) -> list[str]:
    if config.run.mode == "eval" or config.training.train_mode != "distill":
        return []
    model, is_read = teacher_model(config)
    known = "of --teacher" if is_read else "taken to be like the student, since --teacher cannot be read here"
    return [_line("teacher", f"{_network(model)}, {known}")]


def _run(found: Rehearsal) -> dict[str, Any]:
    """What was rehearsed."""
    config, model = found.config, found.config.model
    return {
        "stage": "eval" if config.run.mode == "eval" else config.training.train_mode,
        "resnet_depth": model.resnet_depth,
        "width_multiplier": model.width_multiplier,
        "sk_ratio": model.sk_ratio,
        "image_size": model.image_size,
        "precision": config.training.precision,
        "rematerialize": config.training.rematerialize,
        "memory_size": config.objective.memory_size,
        "batch_size": batch_size(config),
    }


def _of_what_fits(found: Rehearsal) -> list[str]:
    if found.fitting is None:
        return []
    images, step = found.fitting
    lines = [] if step is found.step else [f"with {images} images per core", _line("memory", _memory(step))]
    part = _ONE_PART if parts_of_a_batch(found.config) > 1 else ""
    work = f"{step.flops / 1e12:,.2f} TFLOP and {step.accessed / 1e9:,.2f} GB per step and core"
    lines.append(_line("work", f"{work}{part}"))
    if found.least_seconds:
        lines += _speed(found, images, step, found.least_seconds)
    return [
        *lines,
        _line(
            "exchange",
            f"{step.all_reduces} sums over cores, {step.all_reduced / 2**20:,.1f} MiB a step{part}",
        ),
        _line("compiling", f"took {step.seconds:,.0f} s{_QUICK if found.effort == 'quick' else ''}"),
        _line("compiler", ", ".join(f"{name} {version}" for name, version in compiler_versions().items())),
    ]


def _speed(found: Rehearsal, images: int, step: CompiledStep, seconds: float) -> list[str]:
    tpu = found.tpu.generation
    arithmetic, memory = 1e3 * step.flops / tpu.flops, 1e3 * step.accessed / tpu.bandwidth
    return [
        _line(
            "step time",
            f"at least {seconds * 1e3:,.1f} ms: {arithmetic:,.1f} ms of arithmetic at "
            f"{tpu.flops / 1e12:,.0f} TFLOP/s, {memory:,.1f} ms of memory at {tpu.bandwidth / 1e9:,.0f} GB/s",
        ),
        _line("speed", f"at most {images * found.tpu.replicas / seconds:,.0f} images/s on the whole slice"),
    ]


def _hardly(found: Rehearsal, step: CompiledStep) -> str:
    """With another effort, a program that nearly fills the memory may need more."""
    close = found.effort == "quick" and step.used > NEARLY * step.limit
    return ", but nearly fills the memory; rehearse it with --effort=full" if close else ""


def _largest(found: Rehearsal) -> str:
    if found.fitting is None:
        return "; no batch was found that does"
    images, step = found.fitting
    flags = " ".join(f"--{name}={value}" for name, value in _flags(found, images).items())
    return f"; {images} images per core do ({flags}){_hardly(found, step)}"


def _flags(found: Rehearsal, images: int) -> dict[str, int]:
    """What to pass for another number of images per core: parts and labeled batches shrink with the batch."""
    config = with_images(found.config, images, found.tpu.replicas)
    if config.run.mode == "eval":
        return {"eval_batch_size": batch_size(config)}
    smaller = {"microbatch_size": config.training.microbatch_size}
    if config.training.train_mode == "distill":
        smaller["labeled_batch_size"] = config.labeled_batch_size
    return {"train_batch_size": batch_size(config)} | {name: size for name, size in smaller.items() if size}


def _memory(step: CompiledStep) -> str:
    least = "" if step.counts_all else "at least "
    text = f"{least}{_gib(step.used)} of {_gib(step.limit)} GiB per core"
    if not step.flops:
        return text
    parts = {"arguments": step.arguments, "temporaries": step.temporaries, "program": step.code}
    return f"{text}: " + ", ".join(f"{_gib(size)} {name}" for name, size in parts.items())


def _gib(size: float) -> str:
    return f"{size / GIB:,.2f}"


def _line(name: str, text: str) -> str:
    return f"  {name:<{INDENT - 2}}{text}"
