"""Writes reports."""

from __future__ import annotations

import os
from collections.abc import Sequence

import tensorflow as tf

from tf_simclrv2.errors import ConfigError
from tf_simclrv2.files import write_atomically
from tf_simclrv2.report.comparison_page import comparison_page
from tf_simclrv2.report.run_page import run_page
from tf_simclrv2.report.run_record import read_run

REPORT_FILE = "report.html"
COMPARISON_FILE = "comparison.html"


def write_report(run: str, output: str | None = None) -> str:
    """Makes the report of a run from what it has left.

    Args:
        run: Its `model_dir`.
        output: The file; by default `report.html` in the run.

    Returns:
        The file.

    Raises:
        ConfigError: The directory holds no run, or the file cannot be written.
    """
    return _write(output or os.path.join(run, REPORT_FILE), run_page(read_run(run)))


def write_comparison(runs: Sequence[str], output: str | None = None) -> str:
    """Makes one page of several runs.

    Args:
        runs: Their `model_dir`s.
        output: The file; by default `comparison.html` in the working directory.

    Returns:
        The file.

    Raises:
        ConfigError: A directory holds no run, or the file cannot be written.
    """
    return _write(output or COMPARISON_FILE, comparison_page([read_run(run) for run in runs]))


def _write(path: str, text: str) -> str:
    try:
        write_atomically(path, text)
    except tf.errors.OpError as error:
        raise ConfigError(
            f"output is {path!r}, which cannot be written ({error.message}); name another with --output=FILE."
        ) from error
    return path
