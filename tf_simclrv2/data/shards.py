"""Records in many files: each epoch mixes them differently and can start anywhere."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tf_simclrv2.data.seeds import stream_number
from tf_simclrv2.data.shuffle import shuffled

MOST_LANES = 64


@dataclasses.dataclass(frozen=True)
class Shards:
    """Parts of files, each of which is read from front to back.

    An epoch lays the parts end to end in a random order, cuts this line into lanes of one length, and takes
    a record from each lane in turn. Blocks of what results are then shuffled, each as a whole. So a batch has
    records of as many files as there are lanes, and since lanes begin anywhere in a part, a record meets in
    time those at the front, the middle and the end of other files.

    The position of each record before the shuffle follows from the parts' lengths. So an epoch that resumes
    in the middle opens no finished file, and rereads at most the block in which it stopped.

    Attributes:
        lengths: Records of each part, in the source's fixed order.
        read: Makes the records of a part from its number and how many to leave out, both int64 [].
    """

    lengths: tuple[int, ...]
    read: Callable[[tf.Tensor, tf.Tensor], tf.data.Dataset]

    @property
    def num_examples(self) -> int:
        return sum(self.lengths)

    @property
    def lanes(self) -> int:
        """Returns how many parts are read at a time.

        Prime to the number of parts: else lanes would all begin at the same few places of a part, and the
        fronts of files would meet no more than each other in any epoch.
        """
        parts = len(self.lengths)
        return next(lanes for lanes in range(min(MOST_LANES, parts), 0, -1) if math.gcd(lanes, parts) == 1)

    def epoch(self, epoch: tf.Tensor | int, start: tf.Tensor | int, seed: int, block: int) -> tf.data.Dataset:
        """Makes the records of an epoch, each once, in an order that is a function of (seed, epoch).

        Args:
            epoch: int64 [], its number.
            start: int64 [], position in the epoch to begin at.
            seed: The run's seed.
            block: Records that are shuffled as a whole; twice as many are held in memory.

        Example:
            >>> def read(part, skip):
            ...     return tf.data.Dataset.range(2 * part + skip, 2 * part + 2)
            >>> shards = Shards((2, 2), read)
            >>> sorted(shards.epoch(epoch=7, start=0, seed=0, block=2).as_numpy_iterator())
            [0, 1, 2, 3]
        """
        epoch, start = tf.cast(epoch, tf.int64), tf.cast(start, tf.int64)
        first_block = start // block
        blocks = -(-self.num_examples // block)

        def in_its_order(number: tf.Tensor, records: tf.data.Dataset) -> tf.data.Dataset:
            return shuffled(tf.data.Dataset.zip(records), block, seed, epoch * blocks + number)

        return (
            self._in_turns(self._order(epoch, seed), first_block * block)
            .window(block)
            .prefetch(1)  # The next block is read while one is used up.
            .enumerate(first_block)
            .flat_map(in_its_order)
            .skip(start - first_block * block)
        )

    def only(self, chosen: np.ndarray) -> Shards:
        """Selects records, which stay in their parts.

        Args:
            chosen: bool [N], for each record of the fixed order.
        """
        begins = np.cumsum((0, *self.lengths))
        rows = np.flatnonzero(chosen)
        before = np.searchsorted(rows, begins)  # Chosen records before each part.
        table, rows_of, begin_of, before_of = (
            tf.constant(values) for values in (chosen, rows, begins, before.astype(np.int64))
        )

        def read(part: tf.Tensor, skip: tf.Tensor) -> tf.data.Dataset:
            row = tf.gather(rows_of, tf.gather(before_of, part) + skip)
            return (
                self.read(part, row - tf.gather(begin_of, part))
                .enumerate(row)
                .filter(lambda row, record: tf.gather(table, row))
                .map(lambda row, record: record)
            )

        return Shards(tuple(np.diff(before).tolist()), read)

    def _order(self, epoch: tf.Tensor, seed: int) -> tf.Tensor:
        """The parts' numbers in the order of the epoch's line, int64 [parts]."""
        seeds = tf.stack([tf.constant(stream_number(seed, "files"), tf.int64), epoch])
        draws = tf.random.stateless_uniform([len(self.lengths)], seeds, None, None, tf.int64, alg="philox")
        return tf.cast(tf.argsort(draws, stable=True), tf.int64)

    def _in_turns(self, order: tf.Tensor, start: tf.Tensor) -> tf.data.Dataset:
        """The line's lanes, a record of each in turn, from a position on.

        Position p is the p // lanes th record of lane p % lanes.
        """
        lanes = self.lanes
        length, longer = divmod(self.num_examples, lanes)  # So many lanes have one record more.

        def rest_of_lane(position: tf.Tensor) -> tf.data.Dataset:
            lane, given = position % lanes, position // lanes
            begin = lane * length + tf.minimum(lane, longer)
            end = begin + length + tf.cast(lane < longer, tf.int64)
            return self._piece_of_line(order, tf.minimum(begin + given, end), end)

        return tf.data.Dataset.range(start, start + lanes).interleave(
            rest_of_lane,
            cycle_length=lanes,
            block_length=1,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )

    def _piece_of_line(self, order: tf.Tensor, begin: tf.Tensor, end: tf.Tensor) -> tf.data.Dataset:
        """Records `begin` to `end` of the parts laid end to end; opens those alone in which they are."""
        lengths = tf.gather(tf.constant(self.lengths, tf.int64), order)
        ends = tf.cumsum(lengths)
        begins = ends - lengths
        first = tf.searchsorted(ends, [begin], side="right", out_type=tf.int64)[0]
        behind = tf.searchsorted(begins, [end], side="left", out_type=tf.int64)[0]

        def piece_of_part(place: tf.Tensor) -> tf.data.Dataset:
            skip = tf.maximum(begin - begins[place], 0)
            stop = tf.minimum(end - begins[place], lengths[place])
            return self.read(order[place], skip).take(stop - skip)

        return (
            tf.data.Dataset.range(first, behind)
            .filter(lambda place: lengths[place] > 0)
            .flat_map(piece_of_part)
        )
