"""Which weights to convert, to which form, and where to; each flag of `simclrv2 convert` is a field."""

from __future__ import annotations

import dataclasses
from typing import Literal

from tf_simclrv2.setting import check_settings, documented, required, setting


@documented
@dataclasses.dataclass(frozen=True)
class ConvertConfig:
    """Which weights to convert, to which form, and where to.

    Raises:
        ConfigError: A value cannot be used.
    """

    input: str = required(
        "Weights to convert: a published SavedModel or checkpoint, a model_dir or a ckpt-N.", is_path=True
    )
    output: str = required("Directory to create.", is_path=True)
    format: Literal["checkpoint", "published"] = setting(
        "checkpoint", "Form to write: this package's (checkpoint) or the published TF2 program's."
    )
    ft_proj_selector: int | None = setting(
        None,
        "Projection-head layer that feeds the classifier of published weights, counted from 0 = h; by "
        "default the first one that fits.",
    )
    overwrite: bool = setting(False, "Replace the output if it exists.")

    def __post_init__(self) -> None:
        check_settings(self)
