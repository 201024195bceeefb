"""Smaller networks for the matrix."""

from __future__ import annotations

import pytest

from tf_simclrv2.models import resnet


@pytest.fixture(autouse=True)
def _one_block_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """A "ResNet-18" of one block a group: the same kinds of layers in half the time."""
    monkeypatch.setitem(resnet.BLOCKS_PER_GROUP, 18, (1, 1, 1, 1))
