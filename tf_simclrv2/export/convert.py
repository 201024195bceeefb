"""Converts weights to and from the published form."""

from __future__ import annotations

import dataclasses
import os

import tensorflow as tf

from tf_simclrv2.config import ExperimentConfig, TrainingConfig
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.export.convert_config import ConvertConfig
from tf_simclrv2.export.staging import stage
from tf_simclrv2.files import CLASS_NAMES_FILE, CONFIG_FILE, write_atomically
from tf_simclrv2.models.simclr import SimCLR
from tf_simclrv2.models.variable_paths import named_variables, variable_tree
from tf_simclrv2.progress import say_at_once
from tf_simclrv2.weights.classes import class_names_of, write_class_names
from tf_simclrv2.weights.loading import find_weights, load_network
from tf_simclrv2.weights.published_weights import describe_architecture, published_checkpoint
from tf_simclrv2.weights.run_config import directory_of, read_config


def convert(config: ConvertConfig) -> str:
    """Reads weights in any form and writes them in another.

    The output is written to a temporary directory and then moved, so it appears whole or not at all. The form
    `checkpoint` is a checkpoint of this package, with a `config.json` (that of the run, if one made the
    weights) from which `run.py --checkpoint` and `--teacher` build the network; `published` is a checkpoint
    that the published TF2 program restores. Both are `ckpt-0` in the output.

    Args:
        config: Which weights, to which form, and where to.

    Returns:
        A summary of what was found and written, in a few lines.

    Raises:
        ExportError: The output exists, or cannot be written.
        CheckpointError: The weights cannot be read.
        ConfigError: A head layer is chosen for weights that are not published ones.

    Example:
        >>> print(convert(ConvertConfig("r50_1x_sk0/saved_model", "/tmp/r50")))
        ResNet-50 1x, 3-layer head to 128, 1000 classes on layer 0
        …
    """
    with stage(config.output, config.overwrite) as part:
        weights = find_weights(config.input, "input", config.ft_proj_selector)
        if config.ft_proj_selector is not None and weights.published is None:
            raise ConfigError(
                f"ft_proj_selector is {config.ft_proj_selector}, but {config.input!r} is not a published "
                "checkpoint, which alone leaves open what its classifier reads; leave it out."
            )
        network = load_network(weights, say=say_at_once)
        fine_tuned = network.config.truncate_proj_head or network.config.fine_tune_after_block >= 0
        fine_tuned |= config.ft_proj_selector is not None
        fine_tuned |= weights.published is not None and weights.published.stage == "finetune"
        described = read_config(directory_of(config.input)) or _config(fine_tuned)
        _write(network, part, config, described)
        names = class_names_of(config.input)
        if config.format != "published" and names:
            write_class_names(os.path.join(part, CLASS_NAMES_FILE), names)
    used = set(weights.keys[path] for path in named_variables(network))
    ignored = sorted(key for key in weights.reader.shapes if key not in used and not key.startswith("_"))
    lines = [
        describe_architecture(network.config),
        f"{len(used)} variables from {weights.reader.name}",
        *([f"not used: {_summary(ignored)}"] if ignored else []),
        *([weights.doubt] if weights.doubt else []),
        f"written to {config.output}",
    ]
    return "\n".join(lines)


def _write(network: SimCLR, directory: str, config: ConvertConfig, described: ExperimentConfig) -> None:
    os.makedirs(directory)
    if config.format == "published":
        checkpoint = published_checkpoint(network)
    else:
        checkpoint = tf.train.Checkpoint(model=variable_tree(named_variables(network)))
        described = _with_architecture(described, network, config.input)
        write_atomically(os.path.join(directory, CONFIG_FILE), described.to_json())
    tf.train.CheckpointManager(checkpoint, directory, max_to_keep=1).save(checkpoint_number=0)


def _with_architecture(described: ExperimentConfig, network: SimCLR, path: str) -> ExperimentConfig:
    if described.training.train_mode == "pretrain" and network.config.truncate_proj_head:
        raise ConfigError(
            f"input is {path!r}, a pretrained network without the rest of its projection head, which no run "
            "has; pass it to --checkpoint as it is, or convert the run."
        )
    return dataclasses.replace(described, model=network.config)


def _config(fine_tuned: bool) -> ExperimentConfig:
    """Of weights that no run of this package made."""
    mode = "finetune" if fine_tuned else "pretrain"
    return ExperimentConfig(training=TrainingConfig(train_mode=mode))


def _summary(names: list[str], shown: int = 3) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"{', '.join(names[:shown])}{more}"
