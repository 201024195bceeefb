"""README's example as a library learns what it says, at smaller sizes."""

from __future__ import annotations

import math
import pathlib
import re
from typing import Any

import pytest

from tests.small_network import small_network  # noqa: F401

ROOT = pathlib.Path(__file__).resolve().parents[2]
BATCH, CLASSES = 16, 10
SIZES = {
    "image_size=16": "image_size=8",
    "[1, 16, 16, 3]": "[1, 8, 8, 3]",
    "batch_size=64": f"batch_size={BATCH}",
    "steps_per_epoch=22, epochs=1": "steps_per_epoch=40, epochs=5, verbose=0",
}


def _example() -> str:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if "fit(" in block]
    for size, smaller in SIZES.items():
        assert size in block
        block = block.replace(size, smaller)
    return block


def test_both_losses_fall_below_chance(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(_example(), names)
    assert names["h"].shape == (1, 512)
    assert (tmp_path / "task.keras").exists()
    losses = names["task"].history.history
    # Twice the loss of the paper's equation 1, so its chance is twice this.
    assert losses["contrast_loss"][-1] < math.log(2 * BATCH - 1)
    assert losses["supervised_loss"][-1] < 0.8 * math.log(CLASSES)
    # It never rises much above chance either, as it did by a factor of 1,000.
    assert max(losses["supervised_loss"]) < 1.2 * math.log(CLASSES)
