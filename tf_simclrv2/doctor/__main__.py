"""Examines this machine and what a run needs of it: `python -m tf_simclrv2.doctor [RUN]`."""

from __future__ import annotations

import argparse
import sys

from tf_simclrv2.backend import quiet_tensorflow
from tf_simclrv2.errors import UserError


def main() -> None:
    """Reads the command line and prints what the doctor finds."""
    parser = argparse.ArgumentParser(prog="python -m tf_simclrv2.doctor", description=__doc__)
    parser.add_argument(
        "run",
        nargs="?",
        metavar="RUN",
        help="the model_dir of a run, or a config.json; default: only the machine",
    )
    parser.add_argument(
        "--trial_steps", type=int, default=20, help="training steps to try; 0 for none (default: 20)"
    )
    parser.add_argument("--json", metavar="FILE", help="file to write the findings to, as JSON")
    arguments = parser.parse_args()
    quiet_tensorflow()
    # Only now, for they import TensorFlow.
    from tf_simclrv2.doctor.command import config_at, consult, write_json
    from tf_simclrv2.doctor.machine import look_at_machine
    from tf_simclrv2.doctor.printout import machine_lines

    try:
        if arguments.run:
            consult(config_at(arguments.run), arguments.trial_steps, arguments.json)
            return
        machine = look_at_machine()
        print("\n".join(["this machine", *machine_lines(machine)]))
        if arguments.json:
            write_json(machine, arguments.json)
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
