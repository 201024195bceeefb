"""Stage 2: supervised training of the pretrained network, from a layer of the projection head."""

from __future__ import annotations

import tensorflow as tf

from tf_simclrv2.objectives.supervised import accuracy, labeled_share, supervised_loss
from tf_simclrv2.tasks.task import Scalars, Task


class FineTuning(Task):
    """Cross entropy on labelled images (SimCLRv2 section 2, step 2).

    The projection-head layers up to `ft_proj_selector` are part of what is trained, and
    `fine_tune_after_block` freezes the front of the encoder; 4 freezes all of it and these layers too, and
    trains the classifier alone.

    A batch is a dict of `image`, float [N, H, W, 3] in [0, 1], and `label`, int [N].
    """

    loss_names = ("supervised_loss",)
    metric_names = ("supervised_acc",)

    def objective(self, batch: dict[str, tf.Tensor]) -> tuple[Scalars, Scalars]:
        logits = self.network(batch["image"], training=True)["logits_sup"]
        loss = supervised_loss(logits, batch["label"])
        return {"supervised_loss": loss}, {
            "supervised_acc": accuracy(logits, batch["label"]),
            "labeled_share": labeled_share(batch["label"]),
        }
