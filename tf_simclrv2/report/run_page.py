"""Builds the report page of one run."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from tf_simclrv2.report.classifiers import Classifier, classifiers_of
from tf_simclrv2.report.command import changed_fields, command_of
from tf_simclrv2.report.confusion import confusion_of
from tf_simclrv2.report.duplicates import ALIKE, LEAST, DuplicatePair, Duplicates
from tf_simclrv2.report.feature_map import (
    FEWEST,
    class_color,
    neighbor_map,
    points_svg,
    principal_map,
    thumbnail_map,
)
from tf_simclrv2.report.figure_style import SERIES, css_color
from tf_simclrv2.report.headline import baseline_names, headlines
from tf_simclrv2.report.label_efficiency import efficiency_legend, label_efficiency, label_efficiency_svg
from tf_simclrv2.report.neighbors import hardest_rows, right_share, some_rows
from tf_simclrv2.report.observations import Observations
from tf_simclrv2.report.pictures import Picture, Pictures
from tf_simclrv2.report.run_charts import HEALTH, LEARNING, SPEED, charts_of
from tf_simclrv2.report.run_record import RunRecord
from tf_simclrv2.report.similarity_matrix import own_view_first, similarity_svg
from tf_simclrv2.report.template import render


def run_page(record: RunRecord, directory: str) -> str:
    """Returns the HTML report of a run; it lists what is missing.

    Args:
        record: The run.
        directory: Where the page will lie, from which it links to files.
    """
    seen = record.observations
    efficiency = label_efficiency([record])
    classifiers = classifiers_of(record)
    return render(
        "run.html.j2",
        title=record.name,
        summary=summary_of(record),
        record=record,
        headlines=headlines(record),
        classifiers=classifiers,
        baseline_names=baseline_names(classifiers),
        learning=charts_of(record, LEARNING),
        health=charts_of(record, HEALTH),
        speed=charts_of(record, SPEED),
        efficiency=label_efficiency_svg(efficiency) if efficiency else None,
        learners=efficiency_legend(efficiency),
        seen=seen,
        network=_network_pictures(seen, classifiers, Pictures(directory)) if seen is not None else {},
        areas=dataclasses.asdict(record.config) if record.config else {},
        changed={(area, name) for area, name, _ in changed_fields(record.config)} if record.config else set(),
        command=command_of(record.config) if record.config else None,
    )


def summary_of(record: RunRecord) -> str:
    """Summarizes a run in one line."""
    if record.config is None:
        return f"step {record.step:,}"
    model, training, data = record.config.model, record.config.training, record.config.data
    return (
        f"{training.train_mode} on {data.dataset}/{data.train_split}, ResNet-{model.resnet_depth} "
        f"({model.width_multiplier}x) at {model.image_size} px, batch {training.train_batch_size}, "
        f"step {record.step:,}"
    )


def maps_of(seen: Observations, pictures: Pictures) -> dict[str, Any] | None:
    """Draws the maps of the features; returns None if there are too few images."""
    if len(seen.features) < FEWEST or seen.features.shape[1] < 2:
        return None
    neighbors = neighbor_map(seen.features)
    return {
        "principal": points_svg(principal_map(seen.features), seen, "First two principal components"),
        "neighbors": points_svg(neighbors, seen, "t-SNE"),
        "thumbnails": thumbnail_map(neighbors, seen, pictures),
    }


def _network_pictures(
    seen: Observations, classifiers: Sequence[Classifier], pictures: Pictures
) -> dict[str, Any]:
    return {
        "views": [_views(seen, image, pictures) for image in range(len(seen.views))],
        "similarity": similarity_svg(seen),
        "own_view_first": own_view_first(seen.similarity) if seen.similarity_of_views else None,
        "some": some_rows(seen, pictures),
        "hardest": hardest_rows(seen, pictures) if seen.has_labels else [],
        "right_share": right_share(seen) if seen.has_labels and seen.neighbors.size else None,
        "maps": maps_of(seen, pictures),
        "classes": _classes(seen),
        "confusion": confusion_of(seen, classifiers),
        "duplicates": [
            (found, _short(seen, found), _pairs(seen, found, pictures)) for found in seen.duplicates
        ],
        "least_cosine": LEAST,
        "alike": seen.numbers.get("median_cosine_of_h", 0.0) > ALIKE,
        "files": _files(seen, pictures),
    }


def _views(seen: Observations, image: int, pictures: Pictures) -> list[Picture]:
    name = seen.view_names[image] if seen.view_names else f"training image {image + 1}"
    return [
        pictures.make(view, name, seen.view_folder, f"view {number} of")
        for number, view in enumerate(seen.views[image], 1)
    ]


def _short(seen: Observations, found: Duplicates) -> list[str]:
    """Returns the names of splits without the dataset or folder, if that is the same of all."""
    every = {name for other in seen.duplicates for name in other.sources}
    if len({os.path.dirname(name) for name in every}) > 1:
        return list(found.sources)
    return [os.path.basename(name) for name in found.sources]


def _pairs(seen: Observations, found: Duplicates, pictures: Pictures) -> list[tuple[Picture, Picture, float]]:
    """Returns the pictures of each pair, and their cosine."""

    def picture(pair: DuplicatePair, images: np.ndarray, side: int) -> Picture:
        of_class = seen.class_of(pair.labels[side])
        return pictures.make(images[side], pair.names[side], pair.folders[side], after=of_class)

    return [
        (picture(pair, images, 0), picture(pair, images, 1), pair.cosine)
        for pair, images in zip(found.pairs, found.images, strict=True)
    ]


def _files(seen: Observations, pictures: Pictures) -> list[tuple[str, str, list[str]]]:
    """Returns name, link, and the classes that were seen or predicted, of each image."""
    if not seen.names:
        return []
    labels = np.stack([seen.labels, seen.predictions, seen.votes], axis=1)
    return [
        (name, pictures.link(name, seen.folder), [seen.class_of(int(label)) for label in row])
        for name, row in zip(seen.names, labels, strict=True)
    ]


def _classes(seen: Observations) -> list[tuple[str, Markup]]:
    """Returns names and colors of the classes; empty if there are too many to distinguish by color."""
    labels = np.unique(seen.labels[seen.labels >= 0])
    if not 0 < len(seen.class_names) <= len(SERIES):
        return []
    return [
        (seen.name_of(int(label)), css_color(class_color(int(label), len(seen.class_names))))
        for label in labels
    ]
