"""All stages as small runs, one after another in one process or in each of several workers.

`python -m tests.distribution.stages DIR` runs them as TF_CONFIG says.
"""

from __future__ import annotations

import pathlib
import sys

from tests.training.small_runs import config_for, execute
from tf_simclrv2.models import resnet

STEPS = 3
# 37 images are no multiple of a batch, nor of what a worker has of one.
EVALUATED = 37
VALIDATED = 21
COMMON = {
    "precision": "float64",
    "train_steps": STEPS,
    "steps_per_loop": 2,
    "checkpoint_steps": 2,
    "train_batch_size": 8,
    "eval_batch_size": 8,
    "eval_split": f"test[:{EVALUATED}]",
    "mode": "train",
    "optimizer": "lars",
    "learning_rate": 0.1,
}


def changes_by_stage(root: pathlib.Path) -> dict[str, dict]:
    """What distinguishes each run; later ones start from earlier ones."""
    return {
        "pretrain": {},
        "memory": {"memory_size": 24, "memory_decay": 0.9},
        "finetune": {
            "train_mode": "finetune",
            "checkpoint": str(root / "pretrain"),
            "ft_proj_selector": 1,
            "mode": "train_then_eval",
        },
        "supervised": {
            "train_mode": "supervised",
            "mode": "train_then_eval",
            "protocols": ("online", "knn"),
            "keep_hub_module_max": 1,
            "report_images": 20,
            "keep_best": "knn",
            "validation_split": f"train[40:{40 + VALIDATED}]",
            "patience": 1,
        },
        "distill": {
            "train_mode": "distill",
            "teacher": str(root / "finetune"),
            "distill_alpha": 0.5,
            "labeled_batch_size": 4,
        },
    }


def run_all(root: pathlib.Path, strategy: str) -> None:
    """Runs every stage into a folder of its own."""
    whole = resnet.BLOCKS_PER_GROUP[18]
    try:
        for stage, changes in changes_by_stage(root).items():
            # What is exported has a block in every group; two blocks are traced sooner.
            exports = "keep_hub_module_max" in changes
            resnet.BLOCKS_PER_GROUP[18] = (1, 1, 1, 1) if exports else (1, 0, 0, 1)
            execute(config_for(root / stage, strategy=strategy, **{**COMMON, **changes}))
    finally:
        resnet.BLOCKS_PER_GROUP[18] = whole


if __name__ == "__main__":
    run_all(pathlib.Path(sys.argv[1]), "auto")
