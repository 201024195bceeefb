"""Blocks of rows on a device that has no room for all of them."""

from __future__ import annotations

import pathlib
import sys

import ml_dtypes
import numpy as np
import psutil
import pytest
import tensorflow as tf

from tf_simclrv2.evaluation import device_rows
from tf_simclrv2.evaluation.device_rows import DeviceRows, blocks_on_host

ROWS = np.arange(50, dtype=np.float32).reshape(10, 5)


class Watched(DeviceRows):
    """Notes the blocks that are copied, and has room for some of them."""

    def __init__(self, *arguments, room: int = 100, **options) -> None:
        super().__init__(*arguments, **options)
        self.copied: list[int] = []
        self.room = room

    def _on_device(self, block: np.ndarray) -> tf.Tensor:
        self.copied.append(len(block))
        if self.room == 0:
            self.room = 100
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        self.room -= 1
        return super()._on_device(block)


def joined(rows: DeviceRows) -> np.ndarray:
    return tf.concat(list(rows), axis=0).numpy()


def test_rows_that_fit_are_copied_once() -> None:
    rows = Watched(ROWS, 4)
    for _ in range(3):
        np.testing.assert_array_equal(joined(rows), ROWS)
    assert rows.copied == [4, 4, 2]


def test_rows_that_do_not_fit_are_copied_in_each_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_rows, "KEPT", ROWS.nbytes - 1)
    rows = Watched(ROWS, 4)
    for _ in range(2):
        np.testing.assert_array_equal(joined(rows), ROWS)
    assert rows.copied == [4, 4, 2] * 2


def test_an_allocator_without_room_for_more_is_left_with_one_block() -> None:
    rows = Watched(ROWS, 4, room=2)
    for _ in range(2):
        np.testing.assert_array_equal(joined(rows), ROWS)
    assert rows.copied == [4, 4, 2, 2, 4, 4, 2]
    # A single block is too much: nothing helps but another program's memory.
    with pytest.raises(tf.errors.ResourceExhaustedError):
        joined(Watched(ROWS, 4, room=0))


def test_chosen_rows_are_prepared_in_their_order() -> None:
    chosen = np.array([7, 0, 3])
    rows = DeviceRows(ROWS, 2, chosen, lambda block: 2 * block)
    assert len(rows) == 3 and [len(block) for block in rows] == [2, 1]
    np.testing.assert_array_equal(joined(rows), 2 * ROWS[chosen])


@pytest.mark.parametrize(
    ("dtype", "computed"),
    [
        (np.float16, tf.float32),
        (ml_dtypes.bfloat16, tf.float32),
        (np.float32, tf.float32),
        (np.float64, tf.float64),
    ],
)
def test_half_precision_is_computed_in_float32(dtype: type, computed: tf.DType) -> None:
    (block,) = DeviceRows(ROWS.astype(dtype), 10)
    assert block.dtype == computed
    np.testing.assert_array_equal(block, ROWS)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what is resident of a mapped file")
def test_a_mapped_file_does_not_fill_the_memory(tmp_path: pathlib.Path) -> None:
    """Its rows are read from the mapping, and from a part of it, as from the array."""
    path = str(tmp_path / "rows")
    rows = np.arange(2**23, dtype=np.float32).reshape(2048, -1)  # 32 MiB
    rows.tofile(path)
    block = 2**22  # Bytes.
    for mapped, expected in (
        (np.memmap(path, np.float32, "r", shape=rows.shape), rows),
        (np.memmap(path, np.float32, "r", shape=rows.shape)[100:], rows[100:]),
    ):
        found, resident = [], []
        for part in blocks_on_host(mapped, block // rows[0].nbytes):
            found.append(part.sum(axis=1))
            resident += [m.rss for m in psutil.Process().memory_maps() if m.path == path]
        np.testing.assert_array_equal(np.concatenate(found), expected.sum(axis=1))
        assert max(resident) <= 2 * block
