"""Whole runs, of a small network."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.small_network import small_network


@pytest.fixture(autouse=True, scope="module")
def _small_network() -> Iterator[None]:
    """No test of this folder is about depth."""
    with small_network():
        yield
