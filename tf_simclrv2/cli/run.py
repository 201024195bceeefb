"""Trains and evaluates: `simclrv2 run`, or `python run.py` in a checkout."""

from __future__ import annotations

import sys

from absl.flags import FLAGS

from tf_simclrv2.backend import quiet_tensorflow
from tf_simclrv2.cli.flags import (
    config_from_flags,
    define_flags,
    explicit_fields,
    flag_values,
    notes_on_flags,
)
from tf_simclrv2.cli.program import start
from tf_simclrv2.errors import EXIT_PREEMPTED, Preempted, RunError, UserError


def main() -> None:
    """Reads the command line and runs.

    Exit codes: 0, done; 1, an error, stated in one sentence; 75 (EX_TEMPFAIL), stopped by SIGTERM during
    training with everything saved, so that the same command continues where it stopped.
    """
    start(define_flags, _run)


def _run() -> None:
    try:
        asked = config_from_flags()
        quiet_tensorflow()
        # Imported late, because they import TensorFlow: an error in a flag is reported without that wait.
        from tf_simclrv2.doctor.command import consult
        from tf_simclrv2.training.model_dir.adoption import adopt
        from tf_simclrv2.training.run import Run

        config = adopt(asked, explicit_fields())
        for note in notes_on_flags():
            print(note)
        if FLAGS.doctor:
            consult(config, FLAGS.trial_steps, FLAGS.json)
            return
        Run(config, flag_values()).execute()
    except (UserError, RunError) as error:
        sys.exit(f"error: {error}")
    except Preempted as stop:
        print(stop, flush=True)
        sys.exit(EXIT_PREEMPTED)
