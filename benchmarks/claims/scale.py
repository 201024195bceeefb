"""How large the measurement of the paper's claims is."""

from __future__ import annotations

import dataclasses

from benchmarks.measuring.fashion_mnist import FashionSource


@dataclasses.dataclass(frozen=True)
class Scale:
    """The sizes of networks, data and trainings.

    Learning rates are for 256 images, and those of the recipes for digits.

    Attributes:
        train_images: Images of Fashion-MNIST to pretrain and distill on, as many of each class.
        test_images: Images that accuracies are measured on.
        image_size: Pixels of the side that the network sees; above 32 it has ImageNet's stem, whose maps
            have a quarter of the side.
        precision: `float32` or `mixed_bfloat16`.
        big_depth: Layers of the big ResNet.
        small_depth: Layers of the small one.
        pretrain_batch_size: Images of a step of pretraining.
        pretrain_epochs: Epochs of pretraining.
        memory_size: Keys that the memory bank holds, if there is one.
        memory_decay: Decay of its momentum encoder.
        label_batch_size: Images of a step of fine-tuning and of supervised training.
        finetune_steps: Steps of fine-tuning.
        scratch_steps: Steps of supervised training from random weights.
        distill_epochs: Epochs of distillation.
        source: Where the images come from; sources differ in their order, and so in what a part of them is.
        pretrain_rate: Learning rate of pretraining.
        finetune_rate: Learning rate of fine-tuning.
        scratch_rate: Learning rate of supervised training.
        distill_rate: Learning rate of distillation at temperature 1. The recipe says why a temperature of 0.1
            asks for a hundredth of it.
        self_temperature: Of distilling the big network into itself; into the small one it is 1.
        heads: Layers of the projection heads that are compared; 3 is the one of the other claims too.
        fractions: Shares of the labels, the smallest first.
        memory_batches: Batch sizes at which a memory bank is tested, in addition to `pretrain_batch_size`.
        seeds: Seeds of the weights, the augmentation and the draw of the labels; one repetition each.
    """

    train_images: int
    test_images: int
    image_size: int
    precision: str
    big_depth: int
    small_depth: int
    pretrain_batch_size: int
    pretrain_epochs: int
    memory_size: int
    memory_decay: float
    label_batch_size: int
    finetune_steps: int
    scratch_steps: int
    distill_epochs: int
    source: FashionSource = "debian"
    pretrain_rate: float = 4.0
    finetune_rate: float = 0.3
    scratch_rate: float = 2.0
    distill_rate: float = 4.0
    self_temperature: float = 1.0
    heads: tuple[int, ...] = (2, 3)
    fractions: tuple[float, ...] = (0.01, 0.1)
    memory_batches: tuple[int, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2)

    @property
    def pretrain_images(self) -> int:
        """Images that a pretraining sees, each as often as there are epochs."""
        return self.train_images * self.pretrain_epochs


SMALL = Scale(
    train_images=4000,
    test_images=2000,
    image_size=33,
    precision="mixed_bfloat16",
    big_depth=34,
    small_depth=18,
    pretrain_batch_size=32,
    pretrain_epochs=10,
    memory_size=512,
    memory_decay=0.99,
    label_batch_size=40,
    finetune_steps=200,
    scratch_steps=240,
    distill_epochs=6,
)
# Six times as much pretraining; minutes on a GPU with 16 CPU cores, hours on two cores.
GPU = dataclasses.replace(
    SMALL,
    train_images=8000,
    test_images=5000,
    pretrain_batch_size=64,
    pretrain_epochs=30,
    memory_size=1024,
)
# Everything that Fashion-MNIST has, for a GPU of the size of an H100, in pieces of minutes.
FULL = Scale(
    train_images=60_000,
    test_images=10_000,
    image_size=28,
    precision="mixed_bfloat16",
    big_depth=34,
    small_depth=18,
    pretrain_batch_size=512,
    pretrain_epochs=100,
    memory_size=16_384,
    memory_decay=0.999,
    label_batch_size=128,
    finetune_steps=1000,
    scratch_steps=4000,
    distill_epochs=10,
    self_temperature=0.1,
    heads=(2, 3, 4),
    fractions=(0.01, 0.1, 1.0),
    memory_batches=(64,),
)
SCALES = {"small": SMALL, "gpu": GPU, "full": FULL}
