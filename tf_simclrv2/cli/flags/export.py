"""Flags of the export program."""

from __future__ import annotations

from absl import flags

from tf_simclrv2.cli.flags.paths import define_path


def define() -> None:
    """Defines the flags."""
    define_path("model_dir", None, "What to export: a model_dir, a ckpt-N or a SavedModel.")
    define_path("output", None, "Path of the export; for --format=hub it ends in .tar.gz.")
    flags.DEFINE_enum(
        "format",
        "saved_model",
        ["saved_model", "hub", "serving", "tflite"],
        "A SavedModel, an archive for hub.load, a bundle for TensorFlow Serving, or TensorFlow Lite files.",
    )
    flags.DEFINE_enum(
        "api",
        "endpoints",
        ["endpoints", "feature_vector", "classification"],
        "What calling the module returns: all endpoints by name, or only the features or the logits, as in "
        "TF-Hub's common APIs for images.",
    )
    flags.DEFINE_string("endpoint", None, "Cut the network off after this endpoint, for example proj_head_1.")
    flags.DEFINE_string("name", "simclr", "Name of the served model, for --format=serving.")
    flags.DEFINE_integer("version", 1, "Version of the served model, for --format=serving.")
    flags.DEFINE_bool("overwrite", False, "Replace the output if it exists.")
