"""Writes the pages of one run and of several."""

from __future__ import annotations

import os
from collections.abc import Sequence

import tensorflow as tf

from tf_simclrv2.errors import ConfigError
from tf_simclrv2.files import write_atomically
from tf_simclrv2.report.comparison_page import comparison_page
from tf_simclrv2.report.run_page import run_page
from tf_simclrv2.report.run_record import read_run
from tf_simclrv2.report.story import Story

REPORT_FILE = "report.html"
COMPARISON_FILE = "comparison.html"


def write_report(run: str, output: str | None = None) -> str:
    """Writes the report of a run from the files in its directory.

    A training or an evaluation does this at its end; call it to write the report of an older run again.

    Args:
        run: The `model_dir` of the run.
        output: The file to write; None (the default) writes `report.html` in `run`.

    Returns:
        The path of the file.

    Raises:
        ConfigError: The directory does not hold a run, or the file cannot be written.
    """
    path = output or os.path.join(run, REPORT_FILE)
    return _write(path, run_page(read_run(run), os.path.dirname(path)))


def write_comparison(runs: Sequence[str], output: str | None = None, story: Story | None = None) -> str:
    """Writes a page that compares several runs.

    Args:
        runs: The `model_dir`s of the runs.
        output: The file to write; None (the default) writes `comparison.html` in the working directory.
        story: How the runs came about; None (the default) says nothing of it.

    Returns:
        The path of the file.

    Raises:
        ConfigError: A directory does not hold a run, or the file cannot be written.
    """
    return _write(output or COMPARISON_FILE, comparison_page([read_run(run) for run in runs], story))


def _write(path: str, text: str) -> str:
    try:
        write_atomically(path, text)
    except tf.errors.OpError as error:
        raise ConfigError(
            f"output is {path!r}, which cannot be written ({error.message}); choose another with "
            "--output=FILE."
        ) from error
    return path
