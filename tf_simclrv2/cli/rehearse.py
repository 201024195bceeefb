"""Compiles the step of a run for a TPU slice that need not be there: `simclrv2 rehearse --tpu=v5e-8 …`."""

from __future__ import annotations

import os
import sys

from absl.flags import FLAGS

from tf_simclrv2.backend import quiet_tensorflow
from tf_simclrv2.cli import help_page
from tf_simclrv2.cli.flags import config_from_flags, define_flags, explicit_fields
from tf_simclrv2.cli.flags.rehearsal import define
from tf_simclrv2.cli.flags.settings import values_in
from tf_simclrv2.cli.program import start
from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.errors import CheckpointError
from tf_simclrv2.progress import phase, say_at_once
from tf_simclrv2.rehearsal.rehearsal_config import RehearsalConfig


def main() -> None:
    """Reads the command line of a run and `--tpu`, compiles, and prints what was found."""
    start(define_all, _rehearse, _help)


def define_all() -> None:
    """Defines the flags of a run and of the slice."""
    define_flags()
    define()


def _help() -> str:
    purpose = "Compiles the step of a run for a TPU slice: whether it fits, and how fast it can be at most."
    groups = {"the slice": ("tpu", "classes", "effort", "rehearsal_cache", "json"), **help_page.RUN}
    return help_page.help_page(sys.argv[0], purpose, groups, help_page.run_footer())


def _rehearse() -> None:
    asked = config_from_flags()
    rehearsal = RehearsalConfig(**values_in(RehearsalConfig))
    quiet_tensorflow()
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # What is traced is for TPUs.
    with phase("starting TensorFlow", say_at_once):
        from tf_simclrv2.doctor.command import write_json
        from tf_simclrv2.rehearsal.printout import as_json, printout
        from tf_simclrv2.rehearsal.rehearse import rehearse

    found = rehearse(_adopted(asked), rehearsal)
    say_at_once(printout(found))
    if FLAGS.json:
        write_json(as_json(found), FLAGS.json)


def _adopted(asked: ExperimentConfig) -> ExperimentConfig:
    """Takes over what the checkpoint says, if it is here."""
    import tensorflow as tf

    from tf_simclrv2.training.model_dir.adoption import adopt

    try:
        return adopt(asked, explicit_fields(), say_at_once)
    except CheckpointError as error:
        reason = str(error)
    except tf.errors.OpError as error:  # Such as a bucket that this machine may not read.
        reason = f"what it begins with cannot be read ({error.message})"
    say_at_once(f"the flags alone describe the network: {reason}")
    return asked
