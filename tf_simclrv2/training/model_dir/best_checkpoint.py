"""The best checkpoint of a run, in a folder of its own that can be used like a model_dir.

`model_dir/best` holds one `ckpt-N`, what describes its network, and `best.json`, which says by what it was
chosen. The checkpoint is whole before `best.json` names it, and the one before is removed afterwards; so a
program that is killed leaves one of the two.
"""

from __future__ import annotations

import dataclasses
import os

import tensorflow as tf

from tf_simclrv2.errors import RunError
from tf_simclrv2.files import (
    BEST_FILE,
    BEST_FOLDER,
    CLASS_NAMES_FILE,
    CONFIG_FILE,
    PART,
    VERSIONS_FILE,
    copy_atomically,
    read_json,
    write_json,
)
from tf_simclrv2.training.model_dir.verified_checkpoints import (
    checkpoint_files,
    checkpoint_steps,
    remove_checkpoint,
    why_damaged,
)

_DESCRIPTION = (CONFIG_FILE, CLASS_NAMES_FILE, VERSIONS_FILE)


@dataclasses.dataclass(frozen=True)
class Best:
    """Why a checkpoint is the best one.

    Attributes:
        step: Its step.
        metric: What was measured: `knn`, `linear` or `online`.
        value: The top-1 accuracy, in [0, 1].
        split: The split expression of the images.
        images: How many images it was measured on.
    """

    step: int
    metric: str
    value: float
    split: str
    images: int

    def is_comparable(self, other: Best) -> bool:
        """Returns whether both were measured in the same way."""
        return (self.metric, self.split, self.images) == (other.metric, other.split, other.images)


class BestCheckpoint:
    """The folder of a run's best checkpoint.

    Args:
        model_dir: The run's directory.

    Example:
        >>> BestCheckpoint("runs/digits").read()
        Best(step=400, metric='knn', value=0.98, split='train[90%:]', images=144)
    """

    def __init__(self, model_dir: str) -> None:
        self.folder = os.path.join(model_dir, BEST_FOLDER)
        self._model_dir = model_dir

    def prefix(self, best: Best) -> str:
        """Returns the prefix of the best checkpoint."""
        return os.path.join(self.folder, f"ckpt-{best.step}")

    def read(self) -> Best | None:
        """Returns what `best.json` says; None if there is none, or if it cannot be read."""
        try:
            return Best(**read_json(os.path.join(self.folder, BEST_FILE)))
        except (ValueError, TypeError, tf.errors.OpError):
            return None

    def why_unusable(self) -> str | None:
        """Returns why there is a best checkpoint that cannot be used; None if there is none, or it can."""
        if not tf.io.gfile.isdir(self.folder):
            return None
        best = self.read()
        return f"{BEST_FILE} cannot be read" if best is None else why_damaged(self.prefix(best))

    def keep(self, prefix: str, best: Best) -> None:
        """Copies a checkpoint here, in the place of the one before.

        Args:
            prefix: The checkpoint in the model_dir.
            best: What it was chosen by.

        Raises:
            RunError: It could not be copied; the one before is as it was.
        """
        target = self.prefix(best)
        try:
            tf.io.gfile.makedirs(self.folder)
            # The index last: without it there is no checkpoint.
            for end in sorted(checkpoint_files(prefix), key=lambda end: end == "index"):
                copy_atomically(f"{prefix}.{end}", f"{target}.{end}")
            for name in _DESCRIPTION:
                path = os.path.join(self._model_dir, name)
                if tf.io.gfile.exists(path):
                    copy_atomically(path, os.path.join(self.folder, name))
            write_json(os.path.join(self.folder, BEST_FILE), dataclasses.asdict(best))
        except (tf.errors.OpError, OSError) as error:
            reason = " ".join(getattr(error, "message", str(error)).split())
            raise RunError(
                f"the best checkpoint, {prefix}, could not be copied to {self.folder} ({reason}); free some "
                "disk space and run the same command again."
            ) from error
        self.tidy()

    def tidy(self) -> None:
        """Removes what is not the best checkpoint, and names it in TensorFlow's state file."""
        best = self.read()
        if best is None:
            return
        for step in checkpoint_steps(self.folder):
            if step != best.step:
                remove_checkpoint(os.path.join(self.folder, f"ckpt-{step}"))
        for name in tf.io.gfile.listdir(self.folder):
            if name.startswith("ckpt-") and name.endswith(PART):
                tf.io.gfile.remove(os.path.join(self.folder, name))
        tf.compat.v1.train.update_checkpoint_state(self.folder, os.path.basename(self.prefix(best)))
