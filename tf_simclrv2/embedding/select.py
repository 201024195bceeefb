"""Chooses which embedded images to label next, and writes the list and a page to label from."""

from __future__ import annotations

import csv
import io
import os

import numpy as np
import tensorflow as tf

from tf_simclrv2.data.labels_file import LABEL, PATH, read_labels
from tf_simclrv2.embedding.contact_sheet import Card, Row, contact_sheet
from tf_simclrv2.embedding.embedding_file import read_embeddings
from tf_simclrv2.embedding.embeddings import Embeddings
from tf_simclrv2.embedding.select_config import SelectConfig
from tf_simclrv2.embedding.selection import Candidates, choose
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.files import write_atomically
from tf_simclrv2.progress import Say, phase
from tf_simclrv2.setting import as_path

# Images in a row of the page.
_IN_A_ROW = 10


def select(config: SelectConfig, say: Say) -> str:
    """Chooses images to label.

    Args:
        config: What to choose from.
        say: Receives lines for the user.

    Returns:
        A line that says what was written.

    Raises:
        ConfigError: The strategy needs a classifier, or the output cannot be written.
        DataError: A file does not hold embeddings or labels, or names unknown images.

    Example:
        >>> select(SelectConfig("pictures.parquet", "to_label.csv", budget=50), print)
        'chose 50 of 796 images: to_label.csv, and to_label.html to look at'
    """
    with phase("reading the embeddings", say):
        found = read_embeddings(as_path("embeddings", config.embeddings))
    labeled = np.zeros(len(found), bool)
    if config.labeled is not None:
        path = as_path("labeled", config.labeled)
        known = [name for name, label in read_labels(path).items() if label]
        labeled[found.rows_of(known, path)] = True
    left = int((~labeled).sum())
    if config.budget > left:
        raise ConfigError(
            f"budget is {config.budget}, but only {left:,} images have no label; pass at most {left}."
        )
    with phase("choosing", say):
        norms = np.linalg.norm(found.vectors, axis=1, keepdims=True)
        unit = found.vectors / np.maximum(norms, np.finfo(np.float32).tiny)
        candidates = Candidates(unit, found.margins, labeled, config.seed)
        chosen = found.rows(choose(config.strategy, candidates, config.budget))
    _write(config, chosen)
    return (
        f"chose {len(chosen):,} of {left:,} images without a label: {config.output}, whose column {LABEL} is "
        f"to be filled in, and {config.page} to look at"
    )


def _write(config: SelectConfig, chosen: Embeddings) -> None:
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow([PATH, LABEL, "prediction"])
    rows.writerows([name, "", guess] for name, guess in zip(chosen.names, chosen.predictions, strict=True))
    output, page = (as_path("output", path) for path in (config.output, config.page))
    cards = [
        Card(name, chosen.origin, guess and f"{guess}? ({probability:.2f})")
        for name, guess, probability in zip(
            chosen.names.tolist(), chosen.predictions.tolist(), chosen.probabilities.tolist(), strict=True
        )
    ]
    sheet = [
        Row(f"{start + 1} to {min(start + _IN_A_ROW, len(cards))}", cards[start : start + _IN_A_ROW])
        for start in range(0, len(cards), _IN_A_ROW)
    ]
    notes = [f"chosen by the strategy {config.strategy}; write the labels into {os.path.basename(output)}"]
    try:
        write_atomically(page, contact_sheet("Images to label", notes, sheet, os.path.dirname(page)))
        write_atomically(output, table.getvalue())
    except tf.errors.OpError as error:
        raise ConfigError(
            f"output is {config.output!r}, which cannot be written ({error.message}); choose another."
        ) from error
