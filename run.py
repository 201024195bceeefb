"""Trains and evaluates: `python run.py --mode=train_then_eval --model_dir=DIR …`.

Exit codes: 0 done; 1 an error, told in one sentence; 75 (EX_TEMPFAIL) stopped by SIGTERM during training with
everything saved, so that the same command goes on where it stopped.
"""

from __future__ import annotations

import os
import sys

# Before TensorFlow is imported: its start-up messages would drown ours.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app, logging
from absl.flags import FLAGS

from flags import config_from_flags, define_flags, explicit_fields, flag_values, notes_on_flags
from tf_simclrv2.doctor.command import consult
from tf_simclrv2.errors import EXIT_PREEMPTED, ConfigError, Preempted, RunError
from tf_simclrv2.training.model_dir.adoption import adopt
from tf_simclrv2.training.run import Run

define_flags()


def main(argv: list[str]) -> None:
    """Reads the flags, runs, and says in one sentence what went wrong."""
    if len(argv) > 1:
        raise app.UsageError(f"{argv[1]!r} is not a flag; every option starts with --.")
    logging.set_verbosity(logging.ERROR)
    try:
        config = adopt(config_from_flags(), explicit_fields())
        for note in notes_on_flags():
            print(note)
        if FLAGS.doctor:
            consult(config, FLAGS.trial_steps, FLAGS.json)
            return
        Run(config, flag_values()).execute()
    except (ConfigError, RunError) as error:
        sys.exit(f"error: {error}")
    except Preempted as stop:
        print(stop, flush=True)
        sys.exit(EXIT_PREEMPTED)


if __name__ == "__main__":
    app.run(main)
