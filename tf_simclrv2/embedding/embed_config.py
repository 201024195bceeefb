"""What to embed, with which network, and where to; each option of `simclrv2 embed` is a field."""

from __future__ import annotations

import dataclasses
import os
from typing import Literal

from tf_simclrv2.errors import ConfigError
from tf_simclrv2.setting import check_settings, documented, required, setting


@documented
@dataclasses.dataclass(frozen=True)
class EmbedConfig:
    """What to embed, with which network, and where to.

    Raises:
        ConfigError: A value cannot be used.
    """

    network: str = required("A model_dir, a ckpt-N or an exported SavedModel.", flag=None, is_path=True)
    output: str = required("The file to write; .parquet, .npz or .csv chooses its format.", is_path=True)
    data_dir: str | None = setting(
        None, "The images, at any depth; of a dataset, the directory of TFDS.", is_path=True
    )
    files: str | None = setting(None, "A text file with the path of an image on each line.", is_path=True)
    dataset: str | None = setting(None, "A TFDS dataset, with --split.")
    split: str | None = setting(None, "A split of the dataset, or of a folder of splits and classes.")
    endpoint: str = setting(
        "final_avg_pool",
        "The endpoint whose values are the embedding: final_avg_pool, or a layer of the projection head such "
        "as proj_head_1.",
    )
    batch_size: int = setting(256, "Images that are computed together.", minimum=1)
    strategy: Literal["auto", "one_device", "mirrored"] = setting(
        "auto", "Which devices compute: all GPUs of this machine, or one."
    )
    overwrite: bool = setting(False, "Replace the output if it exists.")

    def __post_init__(self) -> None:
        from tf_simclrv2.embedding.embedding_file import extension_of  # It imports TensorFlow.
        from tf_simclrv2.export.staging import refuse_remote

        if not self.network:
            raise ConfigError(
                "network is empty; name a model_dir, a ckpt-N or a SavedModel after the command."
            )
        if not self.output:
            raise ConfigError("output is not set; pass --output=PATH.")
        check_settings(self)
        extension_of(self.output)
        refuse_remote(self.output)
        if os.path.lexists(self.output) and not self.overwrite:
            raise ConfigError(
                f"output is {self.output!r}, which exists; choose another, or pass --overwrite."
            )
