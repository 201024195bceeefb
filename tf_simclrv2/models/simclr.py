"""The whole network: encoder, projection head and linear classifier, with every endpoint by name."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from tf_simclrv2.config import ModelConfig, config_from_dict
from tf_simclrv2.models.freezing import freeze_new_parts
from tf_simclrv2.models.keras_file import KerasFileModel
from tf_simclrv2.models.norm import Norm
from tf_simclrv2.models.projection_head import ProjectionHead
from tf_simclrv2.models.resnet import ResNet


@keras.saving.register_keras_serializable("tf_simclrv2")
class SimCLR(KerasFileModel):
    """Maps images to h, to each layer of the projection head, and to class logits.

    All stages train this network, and all exports contain it.

    Args:
        config: The architecture; if `num_classes` is 0, there is no classifier.
        rematerialize: If True, residual blocks are recomputed in the backward pass; False by default. See
            `ResNet`.

    Call arguments:
        images: float [N, H, W, 3] in [0, 1].
        training: See `BatchNormRelu`.
        classify_detached: If True, no gradient flows from the classifier into the network, as in
            pretraining; False by default.
        update_statistics: See `BatchNormRelu`.

    Output: A dict of
        `initial_conv`, `initial_max_pool`, `block_group1` … `block_group4`: feature maps;
        `final_avg_pool` = `proj_head_0` = `proj_head_input`: h, [N, features];
        `proj_head_1` … `proj_head_L`, the last one = `proj_head_output` = z;
        `logits_sup`: [N, num_classes], float32 or wider, if there is a classifier.

    Example:
        >>> model = SimCLR(ModelConfig(resnet_depth=18, image_size=32, num_classes=10))
        >>> model(tf.zeros([2, 32, 32, 3]))["proj_head_output"].shape
        TensorShape([2, 128])

    Reference: SimCLRv2 figure 3.
    """

    def __init__(self, config: ModelConfig, rematerialize: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config
        self.rematerialize = rematerialize
        shared = {
            "batch_norm": Norm(config.global_bn, config.batch_norm_decay),
            "dtype": self.dtype_policy,
        }
        self.resnet = ResNet(
            depth=config.resnet_depth,
            width=config.width_multiplier,
            sk_ratio=config.sk_ratio,
            se_ratio=config.se_ratio,
            cifar_stem=config.cifar_stem,
            fine_tune_after_block=config.fine_tune_after_block,
            rematerialize=rematerialize,
            name="resnet",
            **shared,
        )
        self.projection_head = ProjectionHead(
            num_layers=config.num_head_layers,
            out_dim=config.proj_out_dim,
            num_used=config.num_used_head_layers,
            frozen=config.freezes_encoder,
            name="projection_head",
            **shared,
        )
        self.supervised_head = None
        if config.num_classes > 0:
            kernel = (
                "zeros" if config.zero_init_logits_layer else keras.initializers.RandomNormal(stddev=0.01)
            )
            # At a low temperature, as in distillation, a softmax of half-precision logits is off by percents.
            self.supervised_head = keras.layers.Dense(
                config.num_classes,
                kernel_initializer=kernel,
                name="supervised_head",
                dtype=self.dtype_policy.variable_dtype,
            )
        freeze_new_parts(self)

    def build(self, input_shape: tuple) -> None:
        self.resnet.build(input_shape)
        self.projection_head.build((None, self.resnet.features))
        if self.supervised_head is not None:
            layers = [self.resnet.features] + [dense.units for dense in self.projection_head.denses]
            self.supervised_head.build((None, layers[self.config.classifier_layer]))

    def call(
        self,
        images: tf.Tensor,
        training: bool = False,
        classify_detached: bool = False,
        update_statistics: bool = True,
    ) -> dict[str, tf.Tensor]:
        mode = {"training": training, "update_statistics": update_statistics}
        endpoints = self.resnet(images, **mode)
        layers = self.projection_head(endpoints["final_avg_pool"], **mode)
        endpoints |= {f"proj_head_{i}": layer for i, layer in enumerate(layers)}
        endpoints["proj_head_input"], endpoints["proj_head_output"] = layers[0], layers[-1]
        if self.supervised_head is not None:
            features = layers[self.config.classifier_layer]
            features = tf.stop_gradient(features) if classify_detached else features
            endpoints["logits_sup"] = self.supervised_head(features)
        return endpoints

    @property
    def endpoint_widths(self) -> dict[str, int]:
        """Returns the channels of every endpoint of a built network by name, in the order of computation."""
        stem, groups = self.resnet.stem, self.resnet.block_groups
        head = [self.resnet.features] + [dense.units for dense in self.projection_head.denses]
        widths = {"initial_conv": stem.filters, "initial_max_pool": stem.filters}
        widths |= {f"block_group{i}": group.blocks[-1].out_filters for i, group in enumerate(groups, 1)}
        widths |= {"final_avg_pool": self.resnet.features}
        widths |= {f"proj_head_{i}": width for i, width in enumerate(head)}
        widths |= {"proj_head_input": head[0], "proj_head_output": head[-1]}
        return widths | ({"logits_sup": self.config.num_classes} if self.supervised_head is not None else {})

    def get_config(self) -> dict[str, Any]:
        config = {"config": dataclasses.asdict(self.config), "rematerialize": self.rematerialize}
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict | None = None) -> SimCLR:
        model = config_from_dict(ModelConfig, config["config"])
        return super().from_config({**config, "config": model}, custom_objects)
