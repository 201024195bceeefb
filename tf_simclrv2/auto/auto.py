"""From a folder of pictures to a model to serve, within a budget of time, by ordinary commands."""

from __future__ import annotations

import dataclasses
import functools
import os
import shlex
import tempfile
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_simclrv2.auto.auto_config import AutoConfig
from tf_simclrv2.auto.budget import Clock, duration, seconds_of
from tf_simclrv2.auto.commands import (
    CHOOSE,
    DATA,
    HEAD_LAYERS,
    LABELED,
    LEARN,
    MODEL,
    PICTURES,
    PRETRAINED,
    TEST,
    Choices,
    Commands,
)
from tf_simclrv2.auto.conductor import Conductor, Record
from tf_simclrv2.auto.linked_folders import link_classes, link_folder
from tf_simclrv2.auto.outcome import accuracy, best_layer
from tf_simclrv2.auto.pictures import Pictures, count_labels, look_at, split_labels
from tf_simclrv2.auto.schedule import Measured, Schedule, schedule
from tf_simclrv2.auto.trials import choose_network, run_trial
from tf_simclrv2.progress import Say, phase, say_at_once
from tf_simclrv2.report.build import write_comparison
from tf_simclrv2.report.story import Chapter, Story

REPORT = "report.html"
# The share of the budget after which no further network is tried.
_TRIAL_SHARE = 0.1


def auto(config: AutoConfig, say: Say = say_at_once) -> str:
    """Does a job: looks, plans, pretrains, fine-tunes, distills if that pays, exports and reports.

    Every stage is a command of its own, which is printed before it runs and can be repeated or continued by
    hand. The layer of the projection head to fine-tune from, and whether to distill, are chosen on a quarter
    of the labels, which is held back for that. Pictures in `test` serve the final accuracy alone.

    Args:
        config: The job.
        say: Prints a line.

    Returns:
        The last line: what was made, and where.

    Raises:
        UserError: The pictures, the labels or the settings cannot be used.
        RunError: A stage failed.

    Example:
        >>> auto(AutoConfig(data_dir="pictures", output="runs/auto", budget="2h"))
        'top-1 0.9222 on 360 pictures … ; serve it with: simclrv2 serve runs/auto/model'
    """
    record = Record.open(config.output, config.identity)
    # The stages need the accelerators; this process only looks at files.
    for kind in ("GPU", "TPU"):
        tf.config.set_visible_devices([], kind)
    with phase("looking at the pictures", say):
        pictures = look_at(config.data_dir, config.labels_from)
    return _Job(config, record, pictures, say).do()


class _Job:
    """A job whose pictures are known."""

    def __init__(self, config: AutoConfig, record: Record, pictures: Pictures, say: Say) -> None:
        self._config, self._record, self._pictures, self._say = config, record, pictures, say
        self._clock = Clock(seconds_of(config.budget), record.used_s)
        self._conductor = Conductor(record, self._clock, say)
        # A class with a single label has none to spare for a comparison.
        comparable = pictures.fewest_labels >= 2
        self._learn, self._choose = split_labels(pictures.labeled) if comparable else ({}, {})

    def do(self) -> str:
        if self._config.dry_run:
            with tempfile.TemporaryDirectory() as folder:
                self._plan(folder)
            return "nothing was written; the same command without --dry_run runs these"
        os.makedirs(self._config.output, exist_ok=True)
        commands, measured = self._plan(self._config.output)
        self._conductor.run(commands.pretrain(), self._schedule(measured, pretrained=False).seconds)
        final = self._decided("final", lambda: self._use_labels(commands, measured))
        self._conductor.run(commands.export(final))
        self._report(final)
        self._conductor.note()
        return self._last_line(final)

    def _plan(self, folder: str) -> tuple[Commands, Measured]:
        """Chooses the settings, or takes those of a job that continues, and says all of it."""
        self._link(folder)
        facts = self._record.facts
        if "choices" not in facts:
            with phase("trying networks", self._say):
                found = choose_network(
                    functools.partial(run_trial, folder, self._pictures.count, self._config.flags),
                    self._pictures.count,
                    self._pictures.median_side,
                    lambda measured: self._clock.left_s - self._schedule(measured, False).seconds,
                    _TRIAL_SHARE * self._clock.budget_s,
                )
            facts["choices"], facts["measured"] = map(dataclasses.asdict, found)
            if not self._config.dry_run:
                self._conductor.note()
        choices, measured = Choices(**facts["choices"]), Measured(**facts["measured"])
        commands = Commands(self._config.output, choices, self._config.flags)
        for line in self._plan_lines(commands, choices, measured):
            self._say(line)
        return commands, measured

    def _link(self, folder: str) -> None:
        data, pictures = os.path.join(folder, DATA), self._pictures
        link_folder(os.path.join(data, PICTURES), pictures.folder)
        for name, labeled in ((LEARN, self._learn), (CHOOSE, self._choose), (LABELED, pictures.labeled)):
            if labeled:
                link_classes(os.path.join(data, name), labeled)
        if pictures.test_folder:
            link_folder(os.path.join(data, TEST), pictures.test_folder)

    def _schedule(self, measured: Measured, pretrained: bool) -> Schedule:
        return schedule(
            measured, self._pictures.label_count, count_labels(self._learn), self._clock.left_s, pretrained
        )

    def _found_lines(self, choices: Choices) -> list[str]:
        pictures = self._pictures
        labels = f"{pictures.label_count:,} labels in {len(pictures.labeled)} classes"
        flags = self._config.flags
        return [
            f"pictures: {pictures.summary}; the shorter side has {pictures.median_side:.0f} pixels",
            f"labels: {labels}" if pictures.labeled else "labels: none, so the result is an encoder",
            f"network: ResNet-{choices.depth} at {choices.image_size} pixels, {choices.precision}, batch "
            f"{choices.batch_size}, {choices.epochs} epochs of pretraining; {self._config.budget} for all",
            *([f"your flags, which override these: {shlex.join(flags)}"] if flags else []),
        ]

    def _plan_lines(self, commands: Commands, choices: Choices, measured: Measured) -> list[str]:
        """What was found and what will be typed."""
        lines, pictures = self._found_lines(choices), self._pictures
        plan, test = self._schedule(measured, False), self._test_split
        stages = [commands.pretrain()]
        if pictures.labeled:
            learn, labels, first = count_labels(self._learn), pictures.label_count, plan.layers[0]
            if len(plan.layers) > 1 or plan.distills:
                stages += [commands.finetune(f"layer_{i}", i, learn, LEARN, CHOOSE) for i in plan.layers]
            stages.append(commands.finetune("finetuned", first, labels, LABELED, test))
            if plan.distills:
                stages.append(commands.distill("student", f"layer_{first}", first, CHOOSE))
                stages.append(commands.distill("distilled", "finetuned", first, test))
        stages.append(commands.export(stages[-1].name))
        return [*lines, *(f"$ {stage.text}" for stage in stages)]

    def _decided(self, name: str, decide: Callable[[], Any]) -> Any:
        """Decides once: a job that continues has less time left, by which it might decide otherwise."""
        if name not in self._record.facts:
            self._record.facts[name] = decide()
            self._conductor.note()
        return self._record.facts[name]

    def _use_labels(self, commands: Commands, measured: Measured) -> str:
        """Fine-tunes, and distills if that pays; returns the name of the stage that is taken."""
        if not self._pictures.labeled:
            return PRETRAINED
        labels = self._pictures.label_count
        layers = self._decided("layers", lambda: [*self._schedule(measured, pretrained=True).layers])
        layer = layers[0]
        if len(layers) > 1:
            layer = self._decided("layer", lambda: self._compare_layers(commands, measured))
        self._conductor.run(
            commands.finetune("finetuned", layer, labels, LABELED, self._test_split), measured.closing_s
        )
        return self._distill_if_it_pays(commands, measured, layer)

    def _distill_if_it_pays(self, commands: Commands, measured: Measured, layer: int) -> str:
        """Tries a student on the held-out labels first; returns the name of the stage that is taken."""
        output, learn, teacher = self._config.output, count_labels(self._learn), f"layer_{layer}"
        last = measured.closing_s + measured.distill_s()
        both = last + measured.distill_s()
        needed = both + (0.0 if self._conductor.done(teacher) else measured.finetune_s(learn))
        if not learn or not self._decided("distills", lambda: self._clock.left_s > needed):
            return "finetuned"
        self._conductor.run(commands.finetune(teacher, layer, learn, LEARN, CHOOSE), both)
        self._conductor.run(commands.distill("student", teacher, layer, CHOOSE), last)
        found, before = accuracy(output, "student"), accuracy(output, teacher)
        if found is None or before is None or found < before:
            self._say(f"distillation did not help: {_percent(found)}, its teacher {_percent(before)}")
            return "finetuned"
        self._conductor.run(
            commands.distill("distilled", "finetuned", layer, self._test_split), measured.closing_s
        )
        return "distilled" if self._conductor.whole("distilled") else "finetuned"

    def _compare_layers(self, commands: Commands, measured: Measured) -> int:
        learn = count_labels(self._learn)
        needed = measured.closing_s + measured.finetune_s(self._pictures.label_count)
        found: dict[int, float | None] = {}
        for layer in range(HEAD_LAYERS):
            name = f"layer_{layer}"
            fits = self._clock.left_s >= needed + measured.finetune_s(learn)
            if found and not fits and not self._conductor.done(name):
                continue
            self._conductor.run(commands.finetune(name, layer, learn, LEARN, CHOOSE), needed)
            found[layer] = accuracy(self._config.output, name)
        layer = best_layer(found)
        numbers = ", ".join(f"layer {at} {_percent(value)}" for at, value in found.items())
        held_out = f"{count_labels(self._choose)} held-out pictures"
        self._say(f"fine-tuned from {numbers} of {held_out}; using layer {layer}")
        return layer

    @property
    def _test_split(self) -> str | None:
        return TEST if self._pictures.test_folder else None

    def _report(self, final: str) -> None:
        stages = self._record.stages
        chapters = [
            Chapter(
                name,
                stage["command"],
                duration(stage["seconds"]),
                _percent(accuracy(self._config.output, name)),
            )
            for name, stage in stages.items()
        ]
        choices = Choices(**self._record.facts["choices"])
        story = Story(tuple(self._found_lines(choices)), tuple(chapters), self._last_line(final))
        paths = [os.path.join(self._config.output, name) for name in stages if name != MODEL]
        with phase("writing the report", self._say):
            write_comparison(paths, os.path.join(self._config.output, REPORT), story)

    def _last_line(self, final: str) -> str:
        output = self._config.output
        served = os.path.join(output, MODEL)
        took = f"{duration(self._clock.used_s)} of {self._config.budget}"
        if final == PRETRAINED:
            next_ = f"simclrv2 embed {served} --data_dir=FOLDER"
            return f"pretrained in {took}; see {output}/{REPORT}; next: {next_}"
        found, on = accuracy(output, final), "the test pictures"
        if found is None:
            layers = [accuracy(output, f"layer_{layer}") for layer in range(HEAD_LAYERS)]
            found = max((value for value in layers if value is not None), default=None)
            on = f"{count_labels(self._choose)} held-out labels, before it was trained on them"
        top_1 = "no accuracy was measured" if found is None else f"top-1 {found:.4f} on {on}"
        return f"{final} in {took}, {top_1}; see {output}/{REPORT}; next: simclrv2 serve {served}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
