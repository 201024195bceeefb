"""How large the measurement of accuracy against labels is."""

from __future__ import annotations

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Settings:
    """Images, networks and lengths.

    Attributes:
        train_images: Of Fashion-MNIST; pretraining and distillation see all, and labels are drawn from them.
        validation_images: Further training images, on which the layer of the head is chosen.
        test_images: What accuracies are reported on.
        per_class: Numbers of labels per class.
        image_size: Pixels of the side; above 32 the network has ImageNet's stem.
        big_depth: Layers of the network that is pretrained, fine-tuned, and distilled into itself.
        small_depth: Layers of the small student.
        precision: A Keras dtype policy.
        pretrain_epochs: Of pretraining.
        pretrain_batch_size: Images per step of pretraining.
        label_batch_size: Images per step of fine-tuning and of training from scratch, at most.
        finetune_steps: Of fine-tuning, at least, and at least `finetune_epochs`.
        finetune_epochs: Of the labeled images.
        scratch_steps: Of training from scratch, at least, and at least `scratch_epochs`.
        scratch_epochs: Of the labeled images.
        distill_epochs: Of distillation.
        seeds: Of the weights, the augmentation and the draw of the labels.
    """

    train_images: int = 10_000
    validation_images: int = 1_000
    test_images: int = 5_000
    per_class: tuple[int, ...] = (4, 7, 10, 60, 600)
    image_size: int = 33
    big_depth: int = 34
    small_depth: int = 18
    precision: str = "mixed_bfloat16"
    pretrain_epochs: int = 10
    pretrain_batch_size: int = 32
    label_batch_size: int = 40
    finetune_steps: int = 200
    finetune_epochs: int = 10
    scratch_steps: int = 240
    scratch_epochs: int = 20
    distill_epochs: int = 6
    seeds: tuple[int, ...] = (0, 1, 2)

    def batch_size(self, per_class: int, classes: int = 10) -> int:
        """Images per step where there are so many labels."""
        return min(self.label_batch_size, per_class * classes)

    def steps(self, per_class: int, scratch: bool, classes: int = 10) -> int:
        """Steps of training on so many labels."""
        least, epochs = (
            (self.scratch_steps, self.scratch_epochs)
            if scratch
            else (self.finetune_steps, self.finetune_epochs)
        )
        return max(least, math.ceil(epochs * per_class * classes / self.batch_size(per_class, classes)))


SMALL = Settings()
FULL = Settings(
    train_images=50_000,
    validation_images=10_000,
    test_images=10_000,
    per_class=(4, 7, 10, 60, 600, 5_000),
    image_size=28,
    pretrain_epochs=100,
    pretrain_batch_size=512,
    label_batch_size=128,
    finetune_steps=1000,
    scratch_steps=4000,
    distill_epochs=20,
)
SCALES = {"small": SMALL, "full": FULL}
