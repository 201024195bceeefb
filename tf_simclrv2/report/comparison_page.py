"""Builds the page that compares several runs."""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Sequence
from typing import Any

from tf_simclrv2.report.feature_map import FEWEST, neighbor_map, points_svg
from tf_simclrv2.report.headline import Headline, headlines
from tf_simclrv2.report.label_efficiency import efficiency_legend, label_efficiency, label_efficiency_svg
from tf_simclrv2.report.run_charts import HEALTH, LEARNING, SPEED, comparison_charts
from tf_simclrv2.report.run_page import summary_of
from tf_simclrv2.report.run_record import RunRecord
from tf_simclrv2.report.story import Story
from tf_simclrv2.report.template import render

# Settings that say nothing about how a run was done.
_PLACES = ("model_dir",)


def comparison_page(runs: Sequence[RunRecord], story: Story | None = None) -> str:
    """Returns the HTML page that compares several runs; it lists what is missing from each.

    Args:
        runs: The runs.
        story: How they came about; None (the default) says nothing of it.
    """
    records = by_name(runs)
    efficiency = label_efficiency(runs)
    return render(
        "comparison.html.j2",
        title=" · ".join(records),
        summary=f"a comparison of {len(records)} runs",
        records=records,
        story=story,
        summaries={name: summary_of(record) for name, record in records.items()},
        headlines=_headline_table(records),
        settings=differing_settings(records),
        learning=comparison_charts(records, LEARNING),
        health=comparison_charts(records, HEALTH),
        speed=comparison_charts(records, SPEED),
        efficiency=label_efficiency_svg(efficiency) if efficiency else None,
        learners=efficiency_legend(efficiency),
        maps=_maps(records),
    )


def by_name(runs: Sequence[RunRecord]) -> dict[str, RunRecord]:
    """Returns runs by the names of their directories, or by their paths if two have the same name."""
    count = collections.Counter(run.name for run in runs)
    return {run.name if count[run.name] == 1 else os.path.normpath(run.path): run for run in runs}


def differing_settings(records: dict[str, RunRecord]) -> list[tuple[str, list[Any]]]:
    """Returns each setting in which the runs differ, and its value in each run; None if it is not known."""
    plain = [dataclasses.asdict(run.config) if run.config else {} for run in records.values()]
    fields = {f"{area}.{name}": (area, name) for run in plain for area, part in run.items() for name in part}
    found = []
    for title, (area, name) in fields.items():
        values = [run.get(area, {}).get(name) for run in plain]
        if name not in _PLACES and any(value != values[0] for value in values):
            found.append((title, values))
    return found


def _headline_table(records: dict[str, RunRecord]) -> list[tuple[str, list[Headline | None]]]:
    """Returns label and a number for each run; None if a run has none."""
    columns = [{h.label: h for h in headlines(record)} for record in records.values()]
    labels = dict.fromkeys(label for column in columns for label in column)
    return [(label, [column.get(label) for column in columns]) for label in labels]


def _maps(records: dict[str, RunRecord]) -> list[tuple[str, Any]]:
    return [
        (name, points_svg(neighbor_map(seen.features), seen, f"{name}: t-SNE"))
        for name, record in records.items()
        if (seen := record.observations) is not None and len(seen.features) >= FEWEST
    ]
