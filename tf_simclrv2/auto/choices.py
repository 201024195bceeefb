"""Candidates for a budget, from cheap to costly, and the settings that follow from the pictures."""

from __future__ import annotations

import dataclasses
import math

# Multiplications and additions of a ResNet's forward pass on an image of 224 pixels, in 1e9.
_GIGAMACS = {18: 1.82, 34: 3.67, 50: 4.09}
# Up to this size the stem keeps the resolution, so that all maps have sixteen times the area.
_SMALL = 32
_SIZES = (64, 96, 128, 160, 224)
_LOW_RESOLUTION = 96
# Passes over the images: enough to learn well, and where more no longer pays.
_IMAGES_SEEN, _FEWEST_EPOCHS, _MOST_EPOCHS = 300_000, 30, 400
# bfloat16 has to be clearly faster on a CPU: it costs digits.
_GAIN = 1.3


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A network and the size of its images.

    Attributes:
        image_size: Pixels of the side.
        depth: Layers of the ResNet.
    """

    image_size: int
    depth: int

    @property
    def cost(self) -> float:
        """Forward pass of an image, in 1e9 multiplications and additions."""
        area = (self.image_size / 224) ** 2 * (16 if self.image_size <= _SMALL else 1)
        return _GIGAMACS[self.depth] * area


def candidates(median_side: float) -> list[Candidate]:
    """Returns what may be trained on pictures of a size, from cheap to costly.

    Args:
        median_side: The median of the pictures' shorter sides; no larger size is considered, except for
            pictures that come close to it.
    """
    # Just above 32 pixels, a network costs less than at 32: its stem is that for large images.
    sizes = [size for size in _SIZES if size <= 1.15 * median_side] or [max(8, round(median_side))]
    pairs = [Candidate(size, depth) for size in sizes for depth in _depths(size)]
    return sorted(pairs, key=lambda candidate: candidate.cost)


def _depths(image_size: int) -> tuple[int, ...]:
    """Small images have little that more layers could use."""
    return (18, 34) if image_size <= _LOW_RESOLUTION else (34, 50)


def wanted_epochs(images: int) -> int:
    """Returns how many epochs a network should have before a larger one is worth considering."""
    return max(_FEWEST_EPOCHS, min(200, math.ceil(_IMAGES_SEEN / images)))


def affordable_epochs(images: int, batch_size: int, step_s: float, seconds: float) -> int:
    """Returns the epochs that a time allows, at least 1; more than 400 are not worth their time."""
    steps = images / batch_size
    return max(1, min(_MOST_EPOCHS, int(seconds / (steps * step_s))))


def batch_size(images: int, accelerated: bool) -> int:
    """Returns the images per step of pretraining: a power of two that grows with the data."""
    size = next((size for size, below in ((32, 3_000), (64, 10_000), (128, 50_000)) if images < below), 256)
    size *= 2 if accelerated else 1
    return max(2, min(size, 2 ** int(math.log2(images))))


def precision(accelerated: bool, compute_capability: tuple[int, ...] | None, bfloat16_gain: float) -> str:
    """Returns the policy that is fast on a device and safe.

    Args:
        accelerated: Whether a GPU or TPU computes.
        compute_capability: Of a GPU; None if it has none, or it is not known.
        bfloat16_gain: Speed of convolutions in bfloat16 relative to float32.
    """
    if accelerated and compute_capability:
        # float16 has its tensor cores since 7.0, bfloat16 since 8.0.
        newest = (((8, 0), "mixed_bfloat16"), ((7, 0), "mixed_float16"))
        return next((name for least, name in newest if tuple(compute_capability) >= least), "float32")
    return "mixed_bfloat16" if bfloat16_gain >= _GAIN else "float32"


def augmentation(image_size: int) -> dict[str, object]:
    """Returns the flags of every training: milder than the paper's where pixels are few."""
    if image_size <= _LOW_RESOLUTION:
        return {"crop_min_area": 0.4 if image_size <= _SMALL else 0.2, "color_jitter_strength": 0.5}
    return {"crop_min_area": 0.08, "color_jitter_strength": 1.0}


def contrast(image_size: int) -> dict[str, object]:
    """Returns the flags of pretraining that depend on the size: the paper's where there are enough pixels."""
    if image_size <= _LOW_RESOLUTION:
        return {"temperature": 0.5, "use_blur": "false"}
    return {"temperature": 0.1, "use_blur": "true"}
