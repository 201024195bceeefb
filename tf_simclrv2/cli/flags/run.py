"""Flags of how a run is carried out: mode, directories, checkpoints, devices."""

from __future__ import annotations

from absl import flags

# Flags that only the published TF1 program had, and what becomes of them.
LEGACY_NOTES = {
    "train_summary_steps": "mapped to --steps_per_loop, the steps between summaries; 0 leaves the default",
}


def define() -> None:
    """Defines the flags of this area."""
    flags.DEFINE_enum("mode", "train", ["train", "eval", "train_then_eval"], "What to do.")
    flags.DEFINE_string("model_dir", None, "Directory that the run leaves its files in.")
    flags.DEFINE_string(
        "checkpoint", None, "Weights to start from: a model_dir, a ckpt-N, a SavedModel or published weights."
    )
    flags.DEFINE_string(
        "variable_schema",
        None,
        "What to take from --checkpoint, as in the published commands: all but the classifier "
        "('…|head_supervised)'), or but both heads ('…|head)').",
    )
    flags.DEFINE_integer("checkpoint_epochs", 1, "Epochs between checkpoints.")
    flags.DEFINE_integer("checkpoint_steps", 0, "Steps between checkpoints; overrides the epochs if above 0.")
    flags.DEFINE_integer("keep_checkpoint_max", 5, "Checkpoints to keep.")
    flags.DEFINE_integer("keep_hub_module_max", 1, "Exported SavedModels to keep; 0 exports none.")
    flags.DEFINE_string("eval_name", None, "Name of this evaluation, for its results and summaries.")
    flags.DEFINE_integer("steps_per_loop", 0, "Steps between summaries and progress lines; 0 chooses.")
    flags.DEFINE_string(
        "compile_cache", "~/.cache/tf_simclrv2/xla", "Keeps what was compiled for a GPU; empty keeps nothing."
    )
    flags.DEFINE_integer("report_images", 2000, "Images that report.html shows; 0 makes no report.")

    flags.DEFINE_bool(
        "use_tpu", True, "Whether --tpu_name or --master may be used; without them there is no TPU."
    )
    flags.DEFINE_string("tpu_name", None, "Name of the TPU.")
    flags.DEFINE_string("tpu_zone", None, "Zone of the TPU.")
    flags.DEFINE_string("gcp_project", None, "Project of the TPU.")
    flags.DEFINE_string("master", None, "Address of a TPU worker, instead of a name.")
    flags.DEFINE_enum(
        "strategy",
        "auto",
        ["auto", "one_device", "mirrored", "multi_worker", "tpu"],
        "tf.distribute strategy.",
    )
    flags.DEFINE_integer(
        "virtual_devices", 0, "Split the CPU into this many devices, to try several replicas."
    )
    flags.DEFINE_float(
        "cluster_timeout", 600.0, "Seconds to wait for other workers, the TPU or data services."
    )

    flags.DEFINE_integer("train_summary_steps", None, "Accepted for older commands; see the note it prints.")
