"""A network small enough for tests of whole runs, whose time is mostly tracing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tf_simclrv2.models import resnet


@contextlib.contextmanager
def small_network() -> Iterator[None]:
    """Makes "ResNet-18" one narrow block a group, with h as wide as ever, while the context lasts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(resnet.BLOCKS_PER_GROUP, 18, (1, 1, 1, 1))
        patch.setattr(resnet, "GROUP_WIDTHS", (16, 16, 16, 512))
        yield
