"""The array of all features, in memory or on disk."""

from __future__ import annotations

import pathlib
import shutil
import tempfile
from collections import namedtuple

import ml_dtypes
import numpy as np
import psutil
import pytest

from tf_simclrv2.errors import RunError
from tf_simclrv2.evaluation.feature_rows import FeatureRows, allocate

Memory = namedtuple("Memory", ["available"])
Disk = namedtuple("Disk", ["free"])


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> pathlib.Path:
    """1000 bytes are free in memory, and temporary files go to the folder."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(1000))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, np.float16, np.int64])
def test_rows_come_back_in_their_order(dtype: type, little_memory: pathlib.Path) -> None:
    expected = np.arange(300).reshape(100, 3).astype(dtype)
    for most in (100, 130):
        rows = FeatureRows(most)
        for block in np.split(expected, [40, 40, 90]):
            rows.append(block)
        assert isinstance(rows.filled, np.memmap) and rows.filled.dtype == expected.dtype
        np.testing.assert_array_equal(rows.filled, expected)
    assert list(little_memory.iterdir()) == []  # The file has no name any more.


def test_what_fits_is_in_memory(little_memory: pathlib.Path) -> None:
    assert not isinstance(allocate((125,), np.dtype(np.float32)), np.memmap)
    assert isinstance(allocate((126,), np.dtype(np.float32)), np.memmap)


def test_nothing_comes_back_of_nothing() -> None:
    assert len(FeatureRows(10).filled) == 0


def test_a_full_disk_is_refused_first(little_memory: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Disk(2**30))
    with pytest.raises(
        RunError, match=rf"take 1\.2 GiB, .*{little_memory} has only 1\.0 GiB free; set TMPDIR"
    ):
        allocate((300, 2**20), np.dtype(np.float32))
