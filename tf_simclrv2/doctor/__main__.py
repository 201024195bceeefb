"""Examines this machine and what a run needs of it: `python -m tf_simclrv2.doctor [RUN]`."""

from __future__ import annotations

import dataclasses

from tf_simclrv2.backend import quiet_tensorflow
from tf_simclrv2.command_line import ArgumentParser, settings_in
from tf_simclrv2.config import AREAS
from tf_simclrv2.doctor.doctor_config import DoctorConfig
from tf_simclrv2.interruption import CtrlC
from tf_simclrv2.plain_errors import errors_in_a_sentence
from tf_simclrv2.progress import phase, say_at_once
from tf_simclrv2.setting import settings_of

# For those who name the directory as the other programs want it, or mean a run that is not there yet.
_NO_FLAG = "name the model_dir of a run without a flag, as in: doctor runs/mine"
_NOT_YET = "to examine a run before it starts, add --doctor to its own command"


@errors_in_a_sentence()
def main() -> None:
    """Reads the command line and prints what the doctor finds."""
    parser = ArgumentParser(
        prog="python -m tf_simclrv2.doctor",
        description=__doc__,
        advice=_advice(),
    )
    parser.add_argument(
        "run",
        nargs="?",
        metavar="RUN",
        help="the model_dir of a run, or a config.json; default: only the machine",
    )
    parser.add_settings(DoctorConfig, json="FILE")
    arguments = parser.parse_args()
    settings = DoctorConfig(**settings_in(arguments, DoctorConfig))
    quiet_tensorflow()
    # Only now, for they import TensorFlow.
    with phase("starting TensorFlow", say_at_once):
        from tf_simclrv2.doctor.command import config_at, consult, write_json
        from tf_simclrv2.doctor.machine import look_at_machine
        from tf_simclrv2.doctor.printout import machine_lines

    if arguments.run:
        consult(config_at(arguments.run), settings)
        return
    with phase("measuring this machine", say_at_once):
        machine = look_at_machine()
    say_at_once("\n".join(["this machine", *machine_lines(machine)]))
    if settings.json:
        write_json(dataclasses.asdict(machine), settings.json)


def _advice() -> dict[str, str]:
    of_a_run = [str(setting.flag) for area in AREAS.values() for setting in settings_of(area).values()]
    mistaken = ("model_dir", "run", "runs", "dir", "input", "config", "model")
    return {**dict.fromkeys((*of_a_run, "flagfile"), _NOT_YET), **dict.fromkeys(mistaken, _NO_FLAG)}


if __name__ == "__main__":
    with CtrlC():
        main()
