"""Smaller networks for the matrix."""

from __future__ import annotations

import pytest

from tf_simclrv2.models import resnet


@pytest.fixture(autouse=True)
def _one_block_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """A "ResNet-18" of one block a group: the same kinds of layers in half the time."""
    monkeypatch.setitem(resnet.BLOCKS_PER_GROUP, 18, (1, 1, 1, 1))


@pytest.fixture
def one_block(_one_block_a_group: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A "ResNet-18" of a stem and a single narrow block, since tracing a step on four replicas takes long."""
    monkeypatch.setitem(resnet.BLOCKS_PER_GROUP, 18, (0, 0, 0, 1))
    monkeypatch.setattr(resnet, "GROUP_WIDTHS", (8, 8, 8, 8))
