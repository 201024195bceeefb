"""Flags of the export program."""

from __future__ import annotations

from absl import flags


def define() -> None:
    """Defines the flags of this area."""
    flags.DEFINE_string("model_dir", None, "What to export: a model_dir, a ckpt-N or a SavedModel.")
    flags.DEFINE_string("output", None, "Where the export goes; for --format=hub a name ending in .tar.gz.")
    flags.DEFINE_enum(
        "format",
        "saved_model",
        ["saved_model", "hub", "serving", "tflite"],
        "A directory, an archive for hub.load, a bundle for TensorFlow Serving, or TensorFlow Lite files.",
    )
    flags.DEFINE_enum(
        "api",
        "endpoints",
        ["endpoints", "feature_vector", "classification"],
        "What a call of the module returns: all endpoints by name, or features or logits alone, as TF-Hub's "
        "common APIs for images have it.",
    )
    flags.DEFINE_string(
        "endpoint", None, "Cut the network off behind this endpoint, for example proj_head_1."
    )
    flags.DEFINE_string("name", "simclr", "Name of the served model, for --format=serving.")
    flags.DEFINE_integer("version", 1, "Version of the served model, for --format=serving.")
    flags.DEFINE_bool("overwrite", False, "Replace what is already at the output.")
