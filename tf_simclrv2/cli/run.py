"""Trains and evaluates: `simclrv2 run`, or `python run.py` in a checkout."""

from __future__ import annotations

import sys

from absl.flags import FLAGS

from tf_simclrv2.backend import quiet_tensorflow
from tf_simclrv2.cli import help_page
from tf_simclrv2.cli.flags import (
    config_from_flags,
    define_flags,
    explicit_fields,
    flag_values,
    notes_on_flags,
)
from tf_simclrv2.cli.flags.settings import values_in
from tf_simclrv2.cli.program import start
from tf_simclrv2.config import RunConfig
from tf_simclrv2.doctor.doctor_config import DoctorConfig
from tf_simclrv2.errors import Preempted
from tf_simclrv2.interruption import end_as_it_stands, say_last
from tf_simclrv2.progress import phase, say_at_once


def main() -> None:
    """Reads the command line and runs.

    Exit codes: 0, done; 1, an error, stated in one sentence; 75 (EX_TEMPFAIL), stopped by SIGTERM during
    training with everything saved, so that the same command continues where it stopped; 130, stopped by
    Ctrl-C, during training with everything saved too.
    """
    start(define_flags, _run, _help)


def _help() -> str:
    purpose = "Pretrains, fine-tunes or distills a network, evaluates it, or both."
    return help_page.help_page(sys.argv[0], purpose, help_page.RUN, help_page.run_footer())


def _run() -> None:
    asked = config_from_flags()
    if not FLAGS.doctor:
        asked.run.require_model_dir()
    quiet_tensorflow()
    # Imported late, because they import TensorFlow: an error in a flag is reported without that wait.
    with phase("starting TensorFlow", say_at_once):
        from tf_simclrv2.doctor.command import consult
        from tf_simclrv2.training.model_dir.adoption import adopt
        from tf_simclrv2.training.model_dir.verified_checkpoints import wait_for_checkpoint
        from tf_simclrv2.training.run import EVAL_PATIENCE, Run

    say_last(lambda: _last_line(asked.run))
    if asked.run.mode == "eval" and not FLAGS.doctor:
        with phase("waiting for the first checkpoint", say_at_once):
            wait_for_checkpoint(asked.run.require_model_dir(), EVAL_PATIENCE)
    config = adopt(asked, explicit_fields(), say_at_once)
    for note in notes_on_flags():
        say_at_once(note)
    if FLAGS.doctor:
        consult(config, DoctorConfig(**values_in(DoctorConfig)))
        return
    try:
        Run(config, flag_values()).execute()
    except Preempted as stop:
        # All is saved; a scheduler may lose its patience soon.
        end_as_it_stands(str(stop), stop.exit_code)


def _last_line(run: RunConfig) -> str:
    """What Ctrl-C leaves, except between the first and the last step of training."""
    from tf_simclrv2.weights.checkpoint_reader import newest_checkpoint

    newest = newest_checkpoint(run.model_dir) if run.model_dir else None
    if FLAGS.doctor or run.mode == "eval" or newest is None:
        return "stopped by Ctrl-C; type the same command to start again"
    return f"stopped by Ctrl-C; training is saved in {newest}; type the same command to continue"
