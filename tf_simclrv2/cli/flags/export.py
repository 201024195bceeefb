"""Flags of the export program."""

from __future__ import annotations

from absl import flags


def define() -> None:
    """Defines the flags."""
    flags.DEFINE_string("model_dir", None, "What to export: a model_dir, a ckpt-N or a SavedModel.")
    flags.DEFINE_string(
        "output",
        None,
        "Path of the export; for --format=hub it ends in .tar.gz, and for --format=onnx it is a directory "
        "unless it ends in .onnx.",
    )
    flags.DEFINE_enum(
        "format",
        "saved_model",
        ["saved_model", "hub", "serving", "tflite", "onnx"],
        "A SavedModel, an archive for hub.load, a bundle for TensorFlow Serving, TensorFlow Lite files, or "
        "an ONNX file.",
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
