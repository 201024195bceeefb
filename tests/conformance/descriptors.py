"""Everything that the conformance tests put through the same checks.

A new layer, network, loss, optimizer or task joins by one line in one of the lists.
`test_everything_is_listed` fails for a class that can be saved and is in none of them, and
`test_every_task_is_listed` for a task.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.goldens import assign_published_weights
from tests.tasks.batches import Batch, batch_of, config_of, linear_teacher
from tf_simclrv2.config import ExperimentConfig, ModelConfig, OptimizerConfig
from tf_simclrv2.models import ProjectionHead, ResNet, SimCLR
from tf_simclrv2.models.batch_norm import BatchNormRelu
from tf_simclrv2.models.blocks import BottleneckBlock, ProjectionShortcut, ResidualBlock
from tf_simclrv2.models.conv import Conv2DFixedPadding
from tf_simclrv2.models.resnet import BlockGroup, Stem
from tf_simclrv2.models.selective_kernel import SelectiveKernel
from tf_simclrv2.models.squeeze_excitation import SqueezeExcitation
from tf_simclrv2.objectives import distillation_loss, nt_xent, supervised_loss
from tf_simclrv2.objectives.memory_bank import nt_xent_with_memory_bank
from tf_simclrv2.optimization import LARS, WarmupCosine, build_optimizer
from tf_simclrv2.tasks import Task, build_task

BATCH = 8
SMALL_RUN = {
    "resnet_depth": 18,
    "image_size": 8,
    "num_proj_layers": 2,
    "proj_out_dim": 8,
    "temperature": 0.5,
    "weight_decay": 1e-3,
    "train_batch_size": BATCH,
}


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer or network: `make(dtype=..., **kwargs)` makes it, for inputs [N, *shape]."""

    name: str
    make: Callable[..., keras.layers.Layer]
    shape: tuple[int, ...]
    kwargs: dict[str, Any] = dataclasses.field(default_factory=dict)
    deep: bool = False

    def build(self, dtype: str) -> keras.layers.Layer:
        layer = self.make(dtype=dtype, **self.kwargs)
        layer.build((None, *self.shape))
        return layer


@dataclasses.dataclass(frozen=True)
class Objective:
    """A loss: `compute(features [views · N, D], labels [views · N])` is its scalar."""

    name: str
    compute: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    views: int = 1


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """An optimizer: `make()` builds it."""

    name: str
    make: Callable[[], keras.optimizers.Optimizer]


@dataclasses.dataclass(frozen=True)
class Stage:
    """A task: what the flags of its run have beyond `SMALL_RUN`."""

    name: str
    flags: dict[str, Any] = dataclasses.field(default_factory=dict)

    def config(self, precision: str) -> ExperimentConfig:
        return config_of({**SMALL_RUN, **self.flags}, precision)

    def task(self, precision: str) -> Task:
        """Compiled, with the same weights whatever the precision."""
        config = self.config(precision)
        task = build_task(config, linear_teacher)
        assign_published_weights(task.network)
        task.compile(build_optimizer(config.optimizer, WarmupCosine(0.1, total_steps=100)))
        return task

    def batch(self, precision: str) -> Batch:
        """With the keys by which a run knows where it is."""
        batch = batch_of(self.config(precision))
        counted = {"view_1": "key", "image": "key", "labeled_image": "labeled_key"}
        keys = {key: np.arange(len(batch[name])) for name, key in counted.items() if name in batch}
        return {**batch, **keys}


def _simclr(dtype: str) -> SimCLR:
    config = ModelConfig(resnet_depth=18, image_size=32, num_classes=3, num_proj_layers=2, proj_out_dim=8)
    return SimCLR(config, dtype=dtype)


def _named(optimizer: str) -> Callable[[], keras.optimizers.Optimizer]:
    return lambda: build_optimizer(
        OptimizerConfig(optimizer=optimizer, weight_decay=1e-3), WarmupCosine(0.1, 10, 2)
    )


def _remembering(z: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Keys that are not the queries, and a queue of which the last row is empty."""
    queue = tf.eye(4, z.shape[1], dtype=z.dtype)
    return nt_xent_with_memory_bank(z, z[:, ::-1], queue, count=3, temperature=0.5)[0]


LAYERS = [
    Layer("batch_norm", BatchNormRelu, (3, 3, 6)),
    Layer("batch_norm_without_beta", BatchNormRelu, (6,), {"relu": False, "center": False, "momentum": 0.5}),
    Layer("conv", Conv2DFixedPadding, (5, 5, 3), {"filters": 4, "kernel_size": 3, "strides": 2}),
    Layer("selective_kernel", SelectiveKernel, (5, 5, 3), {"filters": 4, "strides": 2}),
    Layer("squeeze_excitation", SqueezeExcitation, (4, 4, 8), {"filters": 4, "se_ratio": 0.5}),
    Layer(
        "projection_shortcut", ProjectionShortcut, (5, 5, 3), {"filters": 4, "strides": 2, "resnet_d": True}
    ),
    Layer("residual_block", ResidualBlock, (6, 6, 4), {"filters": 4, "se_ratio": 0.25}),
    Layer(
        "bottleneck_block", BottleneckBlock, (6, 6, 3), {"filters": 4, "strides": 2, "use_projection": True}
    ),
    Layer("bottleneck_block_sk", BottleneckBlock, (6, 6, 16), {"filters": 4, "sk_ratio": 0.0625}),
    Layer("stem_cifar", Stem, (8, 8, 3), {"filters": 4, "kind": "cifar"}),
    Layer("stem_imagenet", Stem, (12, 12, 3), {"filters": 4, "kind": "imagenet"}),
    Layer("stem_resnet_d", Stem, (12, 12, 3), {"filters": 4, "kind": "resnet_d"}),
    Layer(
        "block_group",
        BlockGroup,
        (6, 6, 3),
        {"depth": 50, "filters": 4, "num_blocks": 2, "strides": 2},
        deep=True,
    ),
    Layer("projection_head", ProjectionHead, (6,), {"num_layers": 3, "out_dim": 4}),
    Layer("resnet", ResNet, (8, 8, 3), {"depth": 18, "cifar_stem": True}, deep=True),
    Layer("simclr", _simclr, (8, 8, 3), deep=True),
]

OBJECTIVES = [
    Objective("nt_xent", lambda z, labels: nt_xent(z)[0], views=2),
    Objective("nt_xent_unnormalized", lambda z, labels: nt_xent(z, 0.5, hidden_norm=False)[0], views=2),
    Objective("nt_xent_with_memory_bank", _remembering, views=2),
    Objective("supervised", supervised_loss),
    Objective("distillation", lambda logits, labels: distillation_loss(logits, -logits, 0.5)),
]

OPTIMIZERS = [
    Optimizer("lars", _named("lars")),
    Optimizer("lars_post_momentum", lambda: LARS(0.1, weight_decay=1e-3, classic_momentum=False)),
    Optimizer("lars_nesterov", lambda: LARS(0.1, weight_decay=1e-3, use_nesterov=True)),
    Optimizer("momentum", _named("momentum")),
    Optimizer("adam", _named("adam")),
]

STAGES = [
    # Large enough for a blur of more than one pixel.
    Stage("pretrain", {"use_blur": True, "image_size": 20}),
    Stage("pretrain_memory", {"memory_size": 24, "memory_decay": 0.9}),
    Stage("pretrain_in_parts", {"microbatch_size": 4, "rematerialize": True}),
    Stage("finetune", {"train_mode": "finetune", "ft_proj_selector": 1}),
    Stage("supervised", {"train_mode": "supervised", "optimizer": "momentum"}),
    Stage("distill", {"train_mode": "distill", "distill_temperature": 0.5}),
    Stage("distill_labeled", {"train_mode": "distill", "distill_alpha": 0.3, "labeled_batch_size": 4}),
    Stage(
        "distill_labeled_in_parts",
        {"train_mode": "distill", "distill_alpha": 0.3, "labeled_batch_size": 16, "microbatch_size": 4},
    ),
]
