"""Where images come from: a TFDS dataset, an image folder, or the built-in digits."""

from __future__ import annotations

import dataclasses

from tf_simclrv2.config import DataConfig
from tf_simclrv2.data.folder_source import folder_source
from tf_simclrv2.data.source import Source, require_labels
from tf_simclrv2.data.tfds_source import tfds_source


def load_source(config: DataConfig, split: str, labels_for: str = "") -> Source:
    """Opens a split of a dataset.

    Args:
        config: Only `dataset`, `data_dir`, `image_key`, `label_key`, `labels_from`, `ignore_empty_classes`
            and `background` are used.
        split: A TFDS split expression, for example `train`, `train[:10%]` or `train+test`.
        labels_for: What needs labels, for the error that refuses a dataset without them before it is
            downloaded; "" (the default) accepts one.

    Returns:
        The source. The images themselves are read later.

    Raises:
        DataError: The dataset, the split or its files do not exist, hold no images, or lack labels that are
            needed; a feature cannot serve as what it is chosen for.

    Example:
        >>> source = load_source(DataConfig(dataset="digits"), "train")
        >>> source.name, source.num_examples, source.num_classes
        ('digits/train', 1437, 10)
    """
    open_split = folder_source if config.dataset == "image_folder" else tfds_source
    source = open_split(config, split, labels_for)
    if labels_for:
        require_labels(source, labels_for)
    return dataclasses.replace(source, background=config.background_color)
