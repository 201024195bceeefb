"""What to search for, and where; each option of `simclrv2 search` is a field."""

from __future__ import annotations

import dataclasses
import importlib.util
from typing import Literal

from tf_simclrv2.errors import ConfigError
from tf_simclrv2.setting import check_settings, documented, required, setting


@documented
@dataclasses.dataclass(frozen=True)
class SearchConfig:
    """What to search for, and where.

    Raises:
        ConfigError: A value cannot be used.
    """

    embeddings: str = required("What simclrv2 embed wrote.", flag=None)
    queries: tuple[str, ...] = required(
        "The name of an image in FILE, an image file, a folder, or another embedding file.", flag=None
    )
    k: int = setting(10, "How many images to find for each query.", minimum=1)
    network: str | None = setting(
        None, "The network that embeds image files; by default the one that FILE names."
    )
    outputs: tuple[str, ...] = setting(
        (), "A page (.html), a table (.csv) or .json to write; may be repeated.", flag="output"
    )
    index: Literal["exact", "approximate"] = setting(
        "exact",
        "Compare each query with all images, or find most of the nearest with an index kept next to FILE.",
    )

    def __post_init__(self) -> None:
        from tf_simclrv2.embedding.outputs import check_outputs, refuse_inputs  # It imports TensorFlow.

        if not self.queries:
            raise ConfigError("there is no query; pass the name or the file of an image, or a folder.")
        check_settings(self)
        if self.index == "approximate" and importlib.util.find_spec("faiss") is None:
            raise ConfigError(
                'index is approximate, which needs faiss; install with pip install "tf_simclrv2[search]", or '
                "leave --index out for the exact search."
            )
        check_outputs(self.outputs)
        refuse_inputs(self.outputs, (self.embeddings, *self.queries))
