"""A network small enough for tests of whole runs, whose time is mostly tracing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tf_simclrv2.models import resnet


@pytest.fixture(autouse=True, scope="module")
def small_network() -> Iterator[None]:
    """Makes "ResNet-18" one narrow block a group, with h as wide as ever.

    A folder none of whose tests is about depth imports it in its conftest.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(resnet.BLOCKS_PER_GROUP, 18, (1, 1, 1, 1))
        patch.setattr(resnet, "GROUP_WIDTHS", (16, 16, 16, 512))
        yield
