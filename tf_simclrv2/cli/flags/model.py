"""Flags of the architecture."""

from __future__ import annotations

from absl import flags


def define() -> None:
    """Defines the flags of this area."""
    flags.DEFINE_integer("resnet_depth", 50, "Depth: 18, 34, 50, 101, 152 or 200.")
    flags.DEFINE_integer("width_multiplier", 1, "Factor on the encoder's channels.")
    flags.DEFINE_float("sk_ratio", 0.0, "Above 0, selective kernels of this ratio; the paper's is 0.0625.")
    flags.DEFINE_float("se_ratio", 0.0, "Above 0, squeeze-and-excitation of this ratio.")
    flags.DEFINE_integer("image_size", 224, "Side of the input; 32 and below take the CIFAR stem.")
    flags.DEFINE_enum("proj_head_mode", "nonlinear", ["none", "linear", "nonlinear"], "Projection head.")
    flags.DEFINE_integer("num_proj_layers", 3, "Layers of the nonlinear projection head.")
    flags.DEFINE_integer("proj_out_dim", 128, "Width of the projection head's output.")
    flags.DEFINE_integer("ft_proj_selector", 0, "Head layer that the classifier sees: 0 is h, -1 the last.")
    flags.DEFINE_integer(
        "fine_tune_after_block", -1, "Freeze the encoder up to this block group; 4 leaves the classifier."
    )
    flags.DEFINE_bool("zero_init_logits_layer", False, "Start the classifier from zeros.")
    flags.DEFINE_bool("global_bn", True, "Batch-norm statistics over all replicas.")
    flags.DEFINE_float("batch_norm_decay", 0.9, "Momentum of batch norm's moving statistics.")
