"""The projection head g(·), from whose middle layers SimCLRv2 fine-tunes."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf_simclrv2.models.freezing import freeze_new_parts
from tf_simclrv2.models.norm import Norm


@keras.saving.register_keras_serializable("tf_simclrv2")
class ProjectionHead(keras.layers.Layer):
    """Maps the representation h to the projection z through dense layers with batch norm.

    The dense layers have no bias. All but the last keep the width of h and end in ReLU; the last one has
    `out_dim` outputs, no ReLU and no beta.

    Args:
        num_layers: Layers of the whole head: 0 for none, 1 for a linear head; 3 by default.
        out_dim: Width of z; 128 by default.
        num_used: How many layers, starting with the first, are built and run; None (the default) for all.
        batch_norm: Settings of its batch norms; None (the default) uses the defaults of `Norm`.
        frozen: If True, the head runs in inference mode and has no trainable variables; False by default.

    Call arguments:
        h: [N, features].
        training: See `BatchNormRelu`.
        update_statistics: See `BatchNormRelu`.

    Output: The list [h, output of layer 1, …], of length 1 + `num_used`. If all layers are used, the last
        item is z.

    Reference: SimCLRv2 section 2, "deeper projection head" and equation 4.
    """

    def __init__(
        self,
        num_layers: int = 3,
        out_dim: int = 128,
        num_used: int | None = None,
        batch_norm: Norm | dict[str, Any] | None = None,
        frozen: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_layers = num_layers
        self.out_dim = out_dim
        self.num_used = num_layers if num_used is None else num_used
        self.batch_norm = Norm.get(batch_norm)
        self.frozen = frozen
        self.norms = [
            self.batch_norm.layer(
                relu=not self._is_last(i),
                center=not self._is_last(i),
                name=f"norm_{i}",
                dtype=self.dtype_policy,
            )
            for i in range(1, self.num_used + 1)
        ]
        if frozen:
            self.trainable = False
        freeze_new_parts(self)

    def _is_last(self, layer: int) -> bool:
        return layer == self.num_layers

    def build(self, input_shape: tuple) -> None:
        shape = (None, input_shape[-1])
        self.denses = []
        for i, norm in enumerate(self.norms, 1):
            dense = keras.layers.Dense(
                self.out_dim if self._is_last(i) else input_shape[-1],
                use_bias=False,
                kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
                trainable=self.trainable,
                name=f"dense_{i}",
                dtype=self.dtype_policy,
            )
            dense.build(shape)
            shape = (None, dense.units)
            norm.build(shape)
            self.denses.append(dense)

    def call(self, h: tf.Tensor, training: bool = False, update_statistics: bool = True) -> list[tf.Tensor]:
        training = training and self.trainable
        outputs = [h]
        for dense, norm in zip(self.denses, self.norms, strict=True):
            x = dense(outputs[-1])
            outputs.append(norm(x, training=training, update_statistics=update_statistics))
        return outputs

    def get_config(self) -> dict[str, Any]:
        config = {
            "num_layers": self.num_layers,
            "out_dim": self.out_dim,
            "num_used": self.num_used,
            "batch_norm": self.batch_norm.to_dict(),
            "frozen": self.frozen,
        }
        return {**super().get_config(), **config}
