"""Formats the findings of the doctor as aligned lines of text."""

from __future__ import annotations

import datetime
import textwrap

from tf_simclrv2.doctor.checkup import Checkup
from tf_simclrv2.doctor.machine import Machine

WIDTH = 110
INDENT = 18


def printout(checkup: Checkup) -> str:
    """Formats all findings, for a terminal or a log."""
    lines = ["this machine", *machine_lines(checkup.machine), "this run"]
    description, *rest = checkup.description.splitlines()
    lines += [_line("what", description), *(_line("", line) for line in rest)]
    size = checkup.checkpoint_mb
    kept = f"{checkup.checkpoints_kept} kept take {checkup.checkpoints_kept * size:,.0f} MB"
    lines += [
        _line("parameters", f"{checkup.parameters:,} are trained"),
        _line("checkpoint", f"{size:,.1f} MB; {kept}"),
        _line("memory", f"{checkup.memory_mb:,.0f} MB estimated{_measurement(checkup)}"),
        *_gpu_lines(checkup),
        *_trial_lines(checkup),
        "advice" if checkup.advice else "advice: none",
    ]
    for number, advice in enumerate(checkup.advice, 1):
        lines += textwrap.wrap(
            advice, WIDTH, initial_indent=f"{number:>4}  ", subsequent_indent=" " * 6, break_on_hyphens=False
        )
    return "\n".join(lines)


def machine_lines(machine: Machine) -> list[str]:
    """Formats the description of a machine."""
    speeds = {"convolution": machine.conv_gflops, "matrix product": machine.matmul_gflops}
    return [
        _line("devices", ", ".join(machine.devices) or "CPU only"),
        *(
            _line("", line)
            for line in textwrap.wrap(machine.unused_gpus, WIDTH - INDENT, break_on_hyphens=False)
        ),
        _line("cores", str(machine.cores)),
        _line("memory", f"{machine.memory_mb:,.0f} MB, of which {machine.free_mb:,.0f} are free"),
        *([] if machine.card_mb is None else [_line("GPU memory", f"{machine.card_mb:,.0f} MB")]),
        *(
            _line(name, ", ".join(f"{precision} {speed:,.0f} GFLOP/s" for precision, speed in by.items()))
            for name, by in speeds.items()
        ),
    ]


def _measurement(checkup: Checkup) -> str:
    # Beside an accelerator, a process holds what no estimate knows of, such as the libraries of CUDA.
    if checkup.trial is None or checkup.machine.devices:
        return ""
    peak = checkup.trial.peak_mb
    return f", {peak:,.0f} measured ({checkup.memory_mb / peak - 1:+.1%})"


def _gpu_lines(checkup: Checkup) -> list[str]:
    estimated, trial = checkup.on_gpu_mb, checkup.trial
    if estimated is None:
        return []
    words = f"{estimated:,.0f} MB estimated"
    if trial is not None and (found := trial.gpu_memory) is not None:
        error = f"{estimated / found.peak_mb - 1:+.1%}"
        words += f", {found.peak_mb:,.0f} measured ({error}), {found.now_mb:,.0f} after the trial"
    return [_line("GPU memory", words)]


def _trial_lines(checkup: Checkup) -> list[str]:
    trial = checkup.trial
    if trial is None or checkup.hours is None:
        return [_line("trial", f"none: {checkup.no_trial}")]
    whole = datetime.timedelta(seconds=round(checkup.hours * 3600))
    return [
        _line(
            "speed",
            f"{trial.examples_per_second:,.1f} images/s, {trial.step_s:.3f} s a step "
            f"(median of {trial.steps}), {trial.data_wait:.0%} of it waiting for data",
        ),
        _line("whole run", f"{checkup.steps:,} steps in {whole}, without evaluation"),
    ]


def _line(name: str, value: str) -> str:
    return f"  {name:<{INDENT}}{value}"
