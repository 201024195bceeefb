"""A network small enough for tests of whole runs, whose time is mostly tracing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tf_simclrv2.models import resnet

BLOCKS = (1, 1, 1, 1)
# h is as wide as ever.
WIDTHS = (16, 16, 16, 512)


@pytest.fixture(autouse=True, scope="module")
def small_network() -> Iterator[None]:
    """Makes "ResNet-18" one narrow block a group.

    A folder none of whose tests is about depth imports it in its conftest, a file by itself.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(resnet.BLOCKS_PER_GROUP, 18, BLOCKS)
        patch.setattr(resnet, "GROUP_WIDTHS", WIDTHS)
        yield
