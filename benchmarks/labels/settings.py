"""How large the measurement of accuracy against labels is."""

from __future__ import annotations

import dataclasses
import math

from benchmarks.measuring.fashion_mnist import FashionSource


@dataclasses.dataclass(frozen=True)
class Settings:
    """Images, networks and lengths.

    Fine-tuning and training from scratch have the same batches and steps. Rates are for 256 images, and those
    of the recipes for digits unless a scale has others.

    Attributes:
        dataset: `fashion_mnist`, as a folder of images, or `digits`.
        source: Where the images come from; sources differ in their order, and so in what a part of them is.
            None is scikit-learn.
        train: Its split for pretraining and distillation, from which labels are drawn too.
        validation: Its split on which the layer of the head is chosen.
        test: Its split on which accuracies are reported.
        train_images: In `train`.
        validation_images: In `validation`.
        test_images: In `test`.
        per_class: Numbers of labels per class.
        image_size: Pixels of the side; above 32 the network has ImageNet's stem.
        random_flip: Whether mirrored images mean the same.
        big_depth: Layers of the network that is pretrained, fine-tuned, and distilled into itself.
        small_depth: Layers of the small student.
        precision: A Keras dtype policy.
        pretrain_epochs: Of pretraining.
        pretrain_batch_size: Images per step of pretraining.
        pretrain_rate: Learning rate of pretraining.
        label_batch_size: Images per step of fine-tuning and of training from scratch, at most.
        label_steps: Of fine-tuning and of training from scratch, at least.
        label_epochs: Of the labeled images, at least.
        finetune_rate: Learning rate of fine-tuning.
        scratch_rate: Learning rate of training from scratch.
        distill_epochs: Of distillation.
        distill_rate: Learning rate of distillation.
        seeds: Of the weights, the augmentation and the draw of the labels.
    """

    dataset: str = "fashion_mnist"
    source: FashionSource | None = "debian"
    train: str = "train"
    validation: str = "validation"
    test: str = "test"
    train_images: int = 10_000
    validation_images: int = 1_000
    test_images: int = 5_000
    per_class: tuple[int, ...] = (4, 7, 10, 60, 600)
    image_size: int = 33
    random_flip: bool = True
    big_depth: int = 34
    small_depth: int = 18
    precision: str = "mixed_bfloat16"
    pretrain_epochs: int = 10
    pretrain_batch_size: int = 32
    pretrain_rate: float = 4.0
    label_batch_size: int = 40
    label_steps: int = 300
    label_epochs: int = 20
    finetune_rate: float = 0.3
    scratch_rate: float = 2.0
    distill_epochs: int = 6
    distill_rate: float = 4.0
    seeds: tuple[int, ...] = (0, 1, 2)

    def batch_size(self, per_class: int, classes: int = 10) -> int:
        """Images per step where there are so many labels."""
        return min(self.label_batch_size, per_class * classes)

    def steps(self, per_class: int, classes: int = 10) -> int:
        """Steps of training on so many labels."""
        epochs = math.ceil(self.label_epochs * per_class * classes / self.batch_size(per_class, classes))
        return max(self.label_steps, epochs)


DIGITS = Settings(
    dataset="digits",
    source=None,
    train="train[:80%]",
    validation="train[80%:]",
    train_images=1_150,
    validation_images=287,
    test_images=360,
    per_class=(4, 7, 10, 25, 60),
    image_size=8,
    random_flip=False,
    precision="float32",
    pretrain_epochs=68,
    # Of 0.1 to 10 and of 0.5 to 8, best on the validation images of seed 0, with 10 and 60 labels per class.
    finetune_rate=3.0,
    scratch_rate=4.0,
    distill_epochs=20,
)
# Of 0.1 to 3 and of 0.5 to 4, best on the validation images of seed 0, with 10 and 60 labels per class.
SMALL = Settings(finetune_rate=3.0, scratch_rate=2.0)
FULL = Settings(
    train_images=50_000,
    validation_images=10_000,
    test_images=10_000,
    per_class=(4, 7, 10, 60, 600, 5_000),
    image_size=28,
    pretrain_epochs=100,
    pretrain_batch_size=512,
    pretrain_rate=0.85,
    label_batch_size=128,
    label_steps=2000,
    distill_epochs=20,
)
SCALES = {"digits": DIGITS, "small": SMALL, "full": FULL}
