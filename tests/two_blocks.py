"""A network small enough for tests of whole runs, whose time is mostly tracing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tf_simclrv2.models import resnet


@contextlib.contextmanager
def two_blocks() -> Iterator[None]:
    """Makes "ResNet-18" a network of two blocks, from stem to h of width 512, while the context lasts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(resnet.BLOCKS_PER_GROUP, 18, (1, 0, 0, 1))
        yield
