"""The command that times the published program's steps, for whatever compares it with ours."""

from __future__ import annotations

import pathlib
from typing import Literal

from tf_simclrv2 import ModelConfig

PROGRAM = pathlib.Path(__file__).with_name("published_steps.py")


def published_command(
    python: str,
    folder: str,
    kind: Literal["train", "eval"],
    model: ModelConfig,
    batch_size: int,
    steps: int,
    calls: int = 1,
) -> list[str]:
    """What measures steps of the published program, always in float32.

    Args:
        python: An interpreter that runs it.
        folder: tf2/ of a checkout of google-research/simclr.
        kind: Steps of pretraining or of evaluation.
        model: The network.
        batch_size: Images of a step.
        steps: Those after the warm-up.
        calls: Steps that each of these times is the mean of.
    """
    point = (model.resnet_depth, model.width_multiplier, model.sk_ratio, model.image_size)
    return [python, str(PROGRAM), folder, kind, *map(str, (*point, batch_size, steps, calls))]
