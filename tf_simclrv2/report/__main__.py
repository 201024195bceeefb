"""Writes the report of a run, or a comparison of several runs: `python -m tf_simclrv2.report RUN [RUN …]`."""

from __future__ import annotations

import argparse
import sys

from tf_simclrv2.backend import quiet_tensorflow
from tf_simclrv2.errors import UserError


def main() -> None:
    """Reads the command line, writes the page and prints its path."""
    parser = argparse.ArgumentParser(prog="python -m tf_simclrv2.report", description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="the model_dir of a run")
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="default: report.html in the model_dir; comparison.html for several runs",
    )
    arguments = parser.parse_args()
    quiet_tensorflow()
    # Only now, for it imports TensorFlow.
    from tf_simclrv2.report.build import write_comparison, write_report

    several = len(arguments.runs) > 1
    try:
        path = (
            write_comparison(arguments.runs, arguments.output)
            if several
            else write_report(arguments.runs[0], arguments.output)
        )
    except UserError as error:
        sys.exit(f"error: {error}")
    print(f"report: {path}")


if __name__ == "__main__":
    main()
