"""A run's training batches, from any step on."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping

import tensorflow as tf

from tf_simclrv2.data import (
    BatchOptions,
    ServiceClient,
    Share,
    SkippedImages,
    distillation_batches,
    finetuning_batches,
    pretraining_batches,
)
from tf_simclrv2.errors import DataError
from tf_simclrv2.training.plan import RunPlan


@dataclasses.dataclass(frozen=True)
class StageBatches:
    """Training batches of a run.

    Attributes:
        plan: The run.
        skipped: Counts its unreadable images.
        service: Makes the examples; None makes them in this process.
    """

    plan: RunPlan
    skipped: SkippedImages
    service: ServiceClient | None = None

    def training(self, starts: Mapping[str, int], share: Share) -> tf.data.Dataset:
        """Makes endless batches.

        Args:
            starts: By stream (`key`, `labeled_key`), the key of the first example.
            share: This worker's part of every batch.
        """
        batch_size = self.plan.config.training.train_batch_size
        return self._make(self.plan, batch_size, starts, share, self.service)

    def first(self, count: int) -> dict[str, tf.Tensor]:
        """Makes a batch of the first images, augmented; filling a shuffle buffer would take long.

        It also holds each image's name, "path": string [batch].
        """
        few = min(count, self.plan.train_source.num_examples)
        # All of so few may be unreadable; an endless stream of them would have no batch.
        unreadable = SkippedImages(few, max_fraction=1.0)
        with contextlib.suppress(DataError), unreadable.explained():
            return self._first(few, few, unreadable)
        with self.skipped.explained():
            return self._first(few, few + self.skipped.limit, self.skipped)

    def _first(self, batch_size: int, most: int, skipped: SkippedImages) -> dict[str, tf.Tensor]:
        """A batch of the first images that can be read, of at most so many."""
        some = dataclasses.replace(self.plan.train_source.first(most), named=True)
        plan = dataclasses.replace(self.plan, train_source=some, labeled_source=None)
        batches = dataclasses.replace(self, plan=plan, skipped=skipped)
        return next(iter(batches._make(plan, batch_size, {}, Share(), None)))

    def _make(
        self,
        plan: RunPlan,
        batch_size: int,
        starts: Mapping[str, int],
        share: Share,
        service: ServiceClient | None,
    ) -> tf.data.Dataset:
        config, start = plan.config, starts.get("key", 0)
        options = BatchOptions(
            config.model.image_size,
            batch_size,
            config.training.seed,
            config.labeled_batch_size,
            share,
            self.skipped,
            service,
        )
        if config.training.train_mode == "distill":
            labeled_start = starts.get("labeled_key", 0)
            return distillation_batches(
                plan.train_source, plan.labeled_source, config.data, options, start, labeled_start
            )
        make = pretraining_batches if config.training.train_mode == "pretrain" else finetuning_batches
        return make(plan.train_source, config.data, options, start)
