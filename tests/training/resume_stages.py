"""Runs every stage through and again from its second checkpoint, with deterministic kernels; a program.

    python tests/training/resume_stages.py DIRECTORY

Exits with the names of what differs. In a process of its own, for determinism cannot be switched off.
"""

from __future__ import annotations

import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

import numpy as np

from tests.training.small_runs import config_for, copy_checkpoint, execute, weights_of
from tf_simclrv2.models import resnet


def stages(root: pathlib.Path) -> dict[str, dict]:
    """The stages in the order in which they build on each other."""
    return {
        # Below 20 pixels, blur is the identity.
        "pretrain": {"use_blur": True, "image_size": 20, "memory_size": 48},
        "finetune": {
            "train_mode": "finetune",
            "checkpoint": str(root / "pretrain"),
            "ft_proj_selector": 1,
            "labels_per_class": 2,
            "train_split": "train[:200]",
        },
        "distill": {
            "train_mode": "distill",
            "teacher": str(root / "finetune"),
            "distill_alpha": 0.5,
            "labeled_split": "train[:100]",
            "labeled_batch_size": 12,
        },
    }


def main(root: pathlib.Path) -> None:
    resnet.BLOCKS_PER_GROUP[18] = (1, 0, 0, 1)  # Six runs of whole networks are mostly tracing.
    different = []
    for name, changes in stages(root).items():
        execute(config_for(root / name, mode="train", deterministic=True, **changes))
        copy_checkpoint(root / name, root / f"{name}_resumed", 2)
        execute(config_for(root / f"{name}_resumed", mode="train", deterministic=True, **changes))
        whole, resumed = weights_of(root / name), weights_of(root / f"{name}_resumed")
        assert whole.keys() == resumed.keys()
        moved = weights_of(root / name, 2)
        assert any(np.any(moved[key] != value) for key, value in whole.items())
        different += [f"{name}: {key}" for key, value in whole.items() if np.any(resumed[key] != value)]
    sys.exit("\n".join(different) or 0)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
