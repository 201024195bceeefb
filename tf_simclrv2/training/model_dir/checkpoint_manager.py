"""Saves checkpoints on the steps where they are due, and never leaves a partial one."""

from __future__ import annotations

import os
import re
import tempfile
from typing import Any

import tensorflow as tf

from tf_simclrv2.errors import RunError
from tf_simclrv2.literal_path import literal_path
from tf_simclrv2.training.model_dir.verified_checkpoints import (
    remove_checkpoint,
    remove_leftover,
    why_damaged,
)


class SafeCheckpointManager(tf.train.CheckpointManager):
    """TensorFlow's manager, for the steps that are multiples of an interval.

    TensorFlow's own counts from the checkpoint that it resumed from, so a run that was stopped in between
    would never again save where an uninterrupted one does. The first save of all comes after the first
    loop: a disk that is full or too slow is better noticed now than after the first interval.

    Args:
        checkpoint: What to save.
        directory: Where.
        max_to_keep: How many.
        step_counter: The step.
        interval: Steps between checkpoints.
        resume: The checkpoint to resume from; None looks in the directory.
        chief: False for workers other than the chief. TensorFlow needs them all to take part in a
            save, so what these write goes to a directory of their own, which lasts as long as the manager.
    """

    def __init__(
        self,
        checkpoint: tf.train.Checkpoint,
        directory: str,
        max_to_keep: int,
        step_counter: tf.Variable,
        interval: int,
        resume: str | None = None,
        chief: bool = True,
    ) -> None:
        self._scratch = None if chief else tempfile.TemporaryDirectory()
        super().__init__(
            checkpoint,
            self._scratch.name if self._scratch else directory,
            max_to_keep,
            step_counter=step_counter,
            checkpoint_interval=interval,
        )
        self._step = step_counter
        self._shared_prefix = os.path.join(directory, os.path.basename(self._prefix))
        self._saved = resume or self.latest_checkpoint

    @property
    def newest(self) -> str | None:
        """The newest checkpoint where all workers find it."""
        return self._saved

    def restore_or_initialize(self) -> str | None:
        """Restores the checkpoint to resume from, and returns its path; None without one."""
        if self._saved is not None:
            self.checkpoint.restore(literal_path(self._saved))
        return self._saved

    def save(
        self, checkpoint_number: Any = None, check_interval: bool = True, options: Any = None
    ) -> str | None:
        """Saves if it is due and has not been done.

        Raises:
            RunError: It could not be written; earlier checkpoints are as they were.
        """
        step = int(self._step.numpy())
        saved, prefix = self._saved, f"{self._shared_prefix}-{step}"
        due = saved is None or not check_interval or step % self.checkpoint_interval == 0
        if not due or saved == prefix:
            return None
        try:
            super().save(step, check_interval=False, options=options)
        except (tf.errors.OpError, OSError) as error:
            _remove_half(f"{self._prefix}-{step}")
            raise RunError(
                f"checkpoint {prefix} could not be saved ({_reason(error)}); "
                f"{f'the last one is {saved}' if saved else 'none was saved before'}; "
                "free some disk space and run the same command again."
            ) from error
        self._saved = prefix
        return prefix

    def _sweep(self) -> None:
        """Removes the oldest checkpoints beyond `max_to_keep`.

        TensorFlow's own takes their paths for patterns, and would remove those of other directories.
        """
        while len(self._maybe_delete) > self._max_to_keep:
            prefix, _ = self._maybe_delete.popitem(last=False)
            remove_checkpoint(prefix)


def _reason(error: Exception) -> str:
    """The first line, without TensorFlow's remarks on the op that failed."""
    text = getattr(error, "message", None) or str(error)
    return re.sub(r"\{\{.*?\}\}|\[Op:\w+\]", "", text.strip().split("\n")[0]).strip()


def _remove_half(prefix: str) -> None:
    """Frees what an unfinished save takes; what is whole stays."""
    remove_leftover(prefix + "_temp")
    if why_damaged(prefix) is not None:
        remove_checkpoint(prefix)
