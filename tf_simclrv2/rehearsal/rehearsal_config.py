"""What a run is compiled for, and how; each flag of `simclrv2 rehearse` that is not the run's is a field."""

from __future__ import annotations

import dataclasses
import os
from typing import Literal

from tf_simclrv2.errors import ConfigError
from tf_simclrv2.rehearsal.tpu_slice import TpuSlice, parse_slice
from tf_simclrv2.setting import check_settings, documented, required, setting

Effort = Literal["full", "quick"]


@documented
@dataclasses.dataclass(frozen=True)
class RehearsalConfig:
    """What a run is compiled for, and how.

    Raises:
        ConfigError: A value cannot be used.
    """

    tpu: str = required(
        "TPU slice to compile for, by size (v3-8, v5e-8) or by its chips (v5e:4x8, v4:2x2x2)."
    )
    classes: int = setting(1000, "Number of classes of the labels.", minimum=2)
    effort: Effort = setting(  # noqa: RUF009 (a Literal by another name)
        "full",
        "How hard the compiler works: full as hard as for a run; quick takes a tenth of the time and "
        "finds a slower program of about the same memory.",
    )
    cache: str = setting(
        os.path.join("~", ".cache", "tf_simclrv2", "rehearsals"),
        "Directory that caches the compiled programs.",
        flag="rehearsal_cache",
        is_path=True,
    )

    def __post_init__(self) -> None:
        if not self.tpu:
            raise ConfigError("tpu is not set; pass the slice to compile for, as in --tpu=v5e-8.")
        check_settings(self)
        parse_slice(self.tpu)

    @property
    def slice(self) -> TpuSlice:
        """The slice by its name."""
        return parse_slice(self.tpu)
