"""How the doctor examines a run; each option of `simclrv2 doctor` is a field."""

from __future__ import annotations

import dataclasses

from tf_simclrv2.setting import check_settings, documented, setting


@documented
@dataclasses.dataclass(frozen=True)
class DoctorConfig:
    """How the doctor examines a run.

    Raises:
        ConfigError: A value cannot be used.
    """

    trial_steps: int = setting(20, "Training steps that the doctor tries; 0 tries none.", minimum=0)
    json: str | None = setting(
        None, "File to which the doctor also writes its findings, as JSON; by default none."
    )

    def __post_init__(self) -> None:
        check_settings(self)
