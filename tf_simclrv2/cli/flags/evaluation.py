"""Flags of evaluation."""

from __future__ import annotations

from absl import flags


def define() -> None:
    """Defines the flags of this area."""
    flags.DEFINE_integer("eval_batch_size", 256, "Global batch of evaluation.")
    flags.DEFINE_integer("eval_steps", 0, "Batches of evaluation; 0 takes the whole split.")
    flags.DEFINE_list("eval_protocols", ["online"], "Any of online, linear and knn.")
    flags.DEFINE_list("probe_endpoints", ["final_avg_pool"], "Endpoints for linear and knn.")
    flags.DEFINE_integer(
        "probe_labels_per_class", 0, "Repeat the linear protocol with this many labels a class."
    )
    flags.DEFINE_bool("probe_baselines", False, "Show a random encoder and raw pixels beside it.")
    flags.DEFINE_integer(
        "knn_epochs",
        0,
        "While training, look at the nearest neighbours of some evaluation images after every so many "
        "epochs; 0 never does.",
    )
