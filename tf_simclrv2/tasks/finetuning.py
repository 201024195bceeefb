"""Stage 2: supervised training of a pretrained network, from a layer of the projection head on."""

from __future__ import annotations

import keras
import tensorflow as tf

from tf_simclrv2.objectives.supervised import accuracy, labeled_share, supervised_loss
from tf_simclrv2.tasks.task import Scalars, Task


@keras.saving.register_keras_serializable("tf_simclrv2")
class FineTuning(Task):
    """Trains with cross entropy on labeled images (SimCLRv2 section 2, step 2).

    The projection-head layers up to `ft_proj_selector` are trained too. `fine_tune_after_block` freezes the
    first block groups of the encoder; 4 freezes the encoder and these layers, so that only the classifier is
    trained.

    A batch is a dict of `image`, float [N, H, W, 3] in [0, 1], and `label`, int [N].

    Args:
        config: The configuration of the run.
        **kwargs: Further arguments of `keras.Model`.

    Example:
        >>> task = FineTuning(config)
        >>> task.compile(LARS(0.1))
        >>> task.fit(batches, steps_per_epoch=100)
    """

    batch_names = ("image", "label")
    loss_names = ("supervised_loss",)
    metric_names = ("supervised_acc",)

    def objective(self, batch: dict[str, tf.Tensor], training: bool = True) -> tuple[Scalars, Scalars]:
        logits = self.network(batch["image"], training=training)["logits_sup"]
        loss = supervised_loss(logits, batch["label"])
        return {"supervised_loss": loss}, {
            "supervised_acc": accuracy(logits, batch["label"]),
            "labeled_share": labeled_share(batch["label"]),
        }
