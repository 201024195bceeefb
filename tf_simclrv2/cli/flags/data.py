"""Flags of the data and its augmentation."""

from __future__ import annotations

from absl import flags


def define() -> None:
    """Defines the flags of this area."""
    flags.DEFINE_string("dataset", "imagenet2012", "A TFDS name, image_folder or digits.")
    flags.DEFINE_string("data_dir", None, "TFDS's data directory, or the image folder.")
    flags.DEFINE_string("train_split", "train", "Split of the training images.")
    flags.DEFINE_string("labelled_split", "train", "Split of distillation's labelled images.")
    flags.DEFINE_string("labelled_dataset", None, "Dataset of the labelled images; by default --dataset.")
    flags.DEFINE_string("labelled_data_dir", None, "Directory of that dataset; by default --data_dir.")
    flags.DEFINE_string("eval_split", "validation", "Split of the evaluation images.")
    flags.DEFINE_float("crop_min_area", 0.08, "Least share of an image that a random crop covers.")
    flags.DEFINE_float("color_jitter_strength", 1.0, "Strength of the colour jitter.")
    flags.DEFINE_bool("use_blur", True, "Gaussian blur on half of the views.")
    flags.DEFINE_enum("blur_sigma", "example", ["example", "batch"], "Whether each image draws its own blur.")
    flags.DEFINE_bool("random_flip", True, "Mirror half of the views; turn it off for digits and text.")
    flags.DEFINE_bool("cache_dataset", False, "Keep the encoded images in memory.")
    flags.DEFINE_string(
        "tf_data_service", None, "grpc://host:port of services that preprocess, separated by commas."
    )
    flags.DEFINE_float("max_skipped_fraction", 0.01, "Share of unreadable images above which the run stops.")
    flags.DEFINE_float(
        "label_fraction", 1.0, "Share of the labels that supervised stages use, class-balanced."
    )
    flags.DEFINE_integer("labels_per_class", 0, "The same as a number a class; 0 leaves it to the fraction.")
    flags.DEFINE_integer("label_seed", 0, "Chooses which labels.")
