"""Builds the report page of one run."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from markupsafe import Markup

from tf_simclrv2.report.command import changed_fields, command_of
from tf_simclrv2.report.confusion import confusion_of
from tf_simclrv2.report.feature_map import (
    FEWEST,
    class_color,
    neighbor_map,
    points_svg,
    principal_map,
    thumbnail_map,
)
from tf_simclrv2.report.figure_style import SERIES, css_color
from tf_simclrv2.report.headline import headlines
from tf_simclrv2.report.label_efficiency import efficiency_legend, label_efficiency, label_efficiency_svg
from tf_simclrv2.report.neighbors import hardest_rows, right_share, some_rows
from tf_simclrv2.report.observations import Observations
from tf_simclrv2.report.run_charts import HEALTH, LEARNING, SPEED, charts_of
from tf_simclrv2.report.run_record import RunRecord
from tf_simclrv2.report.similarity_matrix import own_view_first, similarity_svg
from tf_simclrv2.report.template import render
from tf_simclrv2.report.thumbnails import data_uri


def run_page(record: RunRecord) -> str:
    """Returns the HTML report of a run; it lists what is missing."""
    seen = record.observations
    efficiency = label_efficiency([record])
    return render(
        "run.html.j2",
        title=record.name,
        summary=summary_of(record),
        record=record,
        headlines=headlines(record),
        learning=charts_of(record, LEARNING),
        health=charts_of(record, HEALTH),
        speed=charts_of(record, SPEED),
        efficiency=label_efficiency_svg(efficiency) if efficiency else None,
        learners=efficiency_legend(efficiency),
        seen=seen,
        network=_network_pictures(seen) if seen is not None else {},
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


def maps_of(seen: Observations) -> dict[str, Any] | None:
    """Draws the maps of the features; returns None if there are too few images."""
    if len(seen.features) < FEWEST or seen.features.shape[1] < 2:
        return None
    neighbors = neighbor_map(seen.features)
    return {
        "principal": points_svg(principal_map(seen.features), seen, "First two principal components"),
        "neighbors": points_svg(neighbors, seen, "t-SNE"),
        "thumbnails": data_uri(thumbnail_map(neighbors, seen)),
    }


def _network_pictures(seen: Observations) -> dict[str, Any]:
    return {
        "views": [[data_uri(view) for view in views] for views in seen.views],
        "similarity": similarity_svg(seen),
        "own_view_first": own_view_first(seen.similarity) if seen.similarity_of_views else None,
        "some": some_rows(seen),
        "hardest": hardest_rows(seen) if seen.has_labels else [],
        "right_share": right_share(seen) if seen.has_labels and seen.neighbors.size else None,
        "maps": maps_of(seen),
        "classes": _classes(seen),
        "confusion": confusion_of(seen),
    }


def _classes(seen: Observations) -> list[tuple[str, Markup]]:
    """Returns names and colors of the classes; empty if there are too many to distinguish by color."""
    labels = np.unique(seen.labels[seen.labels >= 0])
    if not 0 < len(seen.class_names) <= len(SERIES):
        return []
    return [
        (seen.name_of(int(label)), css_color(class_color(int(label), len(seen.class_names))))
        for label in labels
    ]
