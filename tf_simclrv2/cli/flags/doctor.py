"""Flags of `--doctor`; not recorded with a run."""

from __future__ import annotations

from absl import flags

from tf_simclrv2.cli.flags.settings import define_settings
from tf_simclrv2.doctor.doctor_config import DoctorConfig


def define() -> None:
    """Defines the flags."""
    flags.DEFINE_bool(
        "doctor",
        False,
        "Check whether this machine can do what the command asks, and at what cost; train nothing.",
        module_name="doctor settings",
    )
    define_settings(DoctorConfig, "doctor settings")
