"""Lists how two configs differ, in the form of command-line flags."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tf_simclrv2.config import ModelConfig

# The fields of `ModelConfig` that decide which variables there are, of the encoder and of the whole network.
ENCODER = ("resnet_depth", "width_multiplier", "sk_ratio", "se_ratio")
ARCHITECTURE = (*ENCODER, "proj_head_mode", "num_proj_layers", "proj_out_dim")


def differing_fields(
    there: ModelConfig, here: ModelConfig, architecture: Iterable[str] = ARCHITECTURE
) -> list[str]:
    """Lists the fields of the architecture in which two configs differ, as `--name=there (here it is …)`."""
    # The image size counts only where it chooses another stem.
    fields = (*architecture, *(("image_size",) if there.cifar_stem != here.cifar_stem else ()))
    return differences(there, here, fields)


def differences(there: Any, here: Any, fields: Iterable[str]) -> list[str]:
    """Lists the fields in which two configs differ, as `--name=there (here it is …)`."""
    return [
        f"--{name}={getattr(there, name)} (here it is {getattr(here, name)})"
        for name in fields
        if getattr(there, name) != getattr(here, name)
    ]
