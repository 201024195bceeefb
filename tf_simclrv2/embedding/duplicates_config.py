"""Where to look for near-duplicates; each option of `simclrv2 duplicates` is a field."""

from __future__ import annotations

import dataclasses

from tf_simclrv2.errors import ConfigError
from tf_simclrv2.setting import check_settings, documented, required, setting


@documented
@dataclasses.dataclass(frozen=True)
class DuplicatesConfig:
    """Where to look for near-duplicates.

    Raises:
        ConfigError: A value cannot be used.
    """

    embeddings: tuple[str, ...] = required(
        "What simclrv2 embed wrote, for example of two splits; a group may hold images of several.", flag=None
    )
    above: float = setting(
        0.99, "The cosine above which two images are near-duplicates.", minimum=-1, below=1
    )
    outputs: tuple[str, ...] = setting(
        (),
        "A page (.html), a table (.csv), .json, or a list of all but the first of each group (.txt) to "
        "write; may be repeated.",
        flag="output",
    )

    def __post_init__(self) -> None:
        from tf_simclrv2.embedding.outputs import (  # It imports TensorFlow.
            EXTENSIONS,
            LIST,
            check_outputs,
            refuse_inputs,
        )

        if not self.embeddings:
            raise ConfigError("there is no embedding file; pass what simclrv2 embed wrote.")
        check_settings(self)
        check_outputs(self.outputs, (*EXTENSIONS, LIST))
        refuse_inputs(self.outputs, self.embeddings)
