"""What every contender is given: the same images, network, batches, views, optimizer and rate."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Settings:
    """A comparison.

    Attributes:
        train_images: Of Fashion-MNIST's 60,000; trained on without labels.
        probe_images: The first of them, whose labels the probes are fitted to.
        test_images: Of its 10,000; the probes are measured on them.
        depth: Layers of the ResNet.
        image_size: Pixels of the side. Up to 32, the stem is the one for small images.
        head_layers: Dense layers of the projection head, each with batch norm.
        out_dim: Width of the last one.
        epochs: Of pretraining.
        measured: After how many of them features are written; 0 is before the first step.
        batch_size: Images per step.
        temperature: Of NT-Xent.
        learning_rate: Of LARS, at its peak.
        warmup_epochs: Of them, in which it rises to that; then half a cosine.
        weight_decay: Of LARS; batch norm and biases are left out.
        momentum: Of LARS.
        color_jitter_strength: Crops (10 % of the area or more), flips and grayscale are as in the published
            program, and nothing is blurred.
        precision: `float32`, or `mixed_bfloat16`, which the published program has not.
        seeds: One repetition each; more of them leave valid what was measured.
    """

    train_images: int = 10_000
    probe_images: int = 5_000
    test_images: int = 5_000
    depth: int = 18
    image_size: int = 33
    head_layers: int = 3
    out_dim: int = 128
    epochs: int = 6
    measured: tuple[float, ...] = (0, 0.125, 0.25, 0.5, 1, 2, 4, 6)
    batch_size: int = 64
    temperature: float = 0.5
    learning_rate: float = 0.6
    warmup_epochs: int = 1
    weight_decay: float = 1e-4
    momentum: float = 0.9
    color_jitter_strength: float = 0.5
    precision: str = "float32"
    seeds: tuple[int, ...] = dataclasses.field(default=(0, 1, 2), compare=False)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches of an epoch."""
        return self.train_images // self.batch_size


# The rate is 0.075 times the root of the batch, as the paper and lightly's benchmarks have it for small ones.
SMALL = Settings(seeds=(0, 1, 2, 3, 4, 5))
# The paper's temperature.
LONG = Settings(epochs=10, measured=(0, 1, 2, 4, 6, 8, 10), temperature=0.1)
GPU = Settings(
    train_images=60_000,
    probe_images=60_000,
    test_images=10_000,
    image_size=28,
    epochs=100,
    measured=(0, 1, 2, 5, 10, 20, 50, 100),
    batch_size=512,
    learning_rate=1.7,
    warmup_epochs=10,
    precision="mixed_bfloat16",
)
SCALES = {"small": SMALL, "long": LONG, "gpu": GPU}
