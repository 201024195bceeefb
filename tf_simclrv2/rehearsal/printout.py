"""What a rehearsal found, as lines for a terminal and as JSON."""

from __future__ import annotations

from typing import Any

from tf_simclrv2.rehearsal.rehearse import Rehearsal, batch_size
from tf_simclrv2.rehearsal.tpu_slice import GIB

INDENT = 18
_QUICK = ", with --effort=quick: a TPU runs a faster program, whose memory differs by a few percent"


def printout(found: Rehearsal) -> str:
    """Formats a rehearsal."""
    step, tpu, config = found.step, found.tpu, found.config
    batch, images = batch_size(config), found.images_per_core
    model, training = config.model, config.training
    stage = "evaluation of the classifier" if config.run.mode == "eval" else training.train_mode
    network = f"ResNet-{model.resnet_depth} ({model.width_multiplier}x{', SK' if model.sk_ratio else ''})"
    lines = [
        f"rehearsal for {tpu.name}: {tpu.replicas} cores ({tpu.topology})",
        _line("step", f"{stage}, {network} at {model.image_size} px, {training.precision}"),
        _line("batch", f"{images} images per core, {batch:,} in all"),
        _line("fits", "yes" if step.fits else f"no{_largest(found)}"),
        _line("memory", f"{_gib(step.used)} of {_gib(step.limit)} GiB per core{_parts(found)}"),
    ]
    if step.flops:
        lines += _speed(found)
    return "\n".join(lines)


def as_json(found: Rehearsal) -> dict[str, Any]:
    """Returns the numbers of a rehearsal by name, in bytes, seconds and images."""
    return {
        "tpu": found.tpu.name,
        "topology": found.tpu.topology,
        "cores": found.tpu.replicas,
        "effort": found.effort,
        "images_per_core": found.images_per_core,
        "largest_images_per_core": found.largest_batch,
        "lower_bound_seconds": found.lower_bound,
        "step": vars(found.step),
        "largest_step": found.largest_step and vars(found.largest_step),
    }


def _speed(found: Rehearsal) -> list[str]:
    step, generation = found.step, found.tpu.generation
    images = batch_size(found.config) / found.lower_bound
    arithmetic, memory = found.seconds_of_arithmetic * 1e3, found.seconds_of_memory * 1e3
    return [
        _line(
            "work",
            f"{step.flops / 1e12:,.2f} TFLOP and {step.accessed / 1e9:,.2f} GB per step and core",
        ),
        _line(
            "step time",
            f"at least {found.lower_bound * 1e3:,.1f} ms: {arithmetic:,.1f} ms of arithmetic at "
            f"{generation.flops / 1e12:,.0f} TFLOP/s, {memory:,.1f} ms of memory at "
            f"{generation.bandwidth / 1e9:,.0f} GB/s",
        ),
        _line("speed", f"at most {images:,.0f} images/s on the whole slice"),
        _line("exchange", f"{step.all_reduces} sums over cores, {step.all_reduced / 2**20:,.1f} MiB a step"),
        _line("compiling", f"took {step.seconds:,.0f} s{_QUICK if found.effort == 'quick' else ''}"),
    ]


def _largest(found: Rehearsal) -> str:
    if not found.largest_batch:
        return "; no batch was found that does"
    images = found.largest_batch
    return f"; {images} images per core do ({images * found.tpu.replicas:,} in all)"


def _parts(found: Rehearsal) -> str:
    step = found.step
    if not step.flops:
        return ""
    parts = {"arguments": step.arguments, "temporaries": step.temporaries, "program": step.code}
    return ": " + ", ".join(f"{_gib(size)} {name}" for name, size in parts.items())


def _gib(size: float) -> str:
    return f"{size / GIB:,.2f}"


def _line(name: str, text: str) -> str:
    return f"  {name:<{INDENT - 2}}{text}"
