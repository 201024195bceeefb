"""Whole runs, of a small network."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.two_blocks import two_blocks


@pytest.fixture(autouse=True, scope="module")
def _two_blocks() -> Iterator[None]:
    """No test of this folder is about depth."""
    with two_blocks():
        yield
