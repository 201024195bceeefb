"""Writes the report of a run, or a comparison of several runs: `python -m tf_simclrv2.report RUN [RUN …]`."""

from __future__ import annotations

import sys

from tf_simclrv2.backend import quiet_tensorflow
from tf_simclrv2.command_line import ArgumentParser
from tf_simclrv2.errors import UserError
from tf_simclrv2.interruption import NOTHING_WRITTEN, CtrlC
from tf_simclrv2.progress import phase, say_at_once
from tf_simclrv2.setting import as_path

# For those who name the directory as the other programs want it.
_NO_FLAG = "name the model_dir of each run without a flag, as in: report runs/mine"


def main() -> None:
    """Reads the command line, writes the page and prints its path."""
    parser = ArgumentParser(
        prog="python -m tf_simclrv2.report",
        description=__doc__,
        advice=dict.fromkeys(("model_dir", "run", "runs", "dir", "input", "checkpoint", "model"), _NO_FLAG),
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="the model_dir of a run")
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="default: report.html in the model_dir; comparison.html for several runs",
    )
    arguments = parser.parse_args()
    quiet_tensorflow()
    # Only now, for it imports TensorFlow.
    with phase("starting TensorFlow", say_at_once):
        from tf_simclrv2.report.build import write_comparison, write_report

    try:
        runs = [as_path("run", run) for run in arguments.runs]
        output = arguments.output and as_path("output", arguments.output)
        with phase("writing the report", say_at_once):
            path = write_comparison(runs, output) if len(runs) > 1 else write_report(runs[0], output)
    except UserError as error:
        sys.exit(f"error: {error}")
    say_at_once(f"report: {path}")


if __name__ == "__main__":
    with CtrlC(NOTHING_WRITTEN):
        main()
