"""What tests of a whole step share."""

import pytest

from tf_simclrv2.models import resnet


@pytest.fixture
def two_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A "ResNet-18" of two narrow blocks, since tracing whole networks on four replicas takes long."""
    monkeypatch.setitem(resnet.BLOCKS_PER_GROUP, 18, (1, 0, 0, 1))
    monkeypatch.setattr(resnet, "GROUP_WIDTHS", (16, 16, 16, 16))
