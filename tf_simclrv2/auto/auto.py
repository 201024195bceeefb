"""From a folder of pictures to a model to serve, within a budget of time, by ordinary commands."""

from __future__ import annotations

import dataclasses
import functools
import os
import tempfile
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_simclrv2.auto.announcement import found_lines, planned_lines
from tf_simclrv2.auto.auto_config import AutoConfig
from tf_simclrv2.auto.budget import Clock, duration, in_minutes, seconds_of
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
    Stage,
)
from tf_simclrv2.auto.conductor import Conductor, Record
from tf_simclrv2.auto.linked_folders import link_classes, link_folder, write_labels
from tf_simclrv2.auto.outcome import accuracy, best_layer, percent, probe_accuracies
from tf_simclrv2.auto.pictures import Pictures, count_labels, look_at, split_labels
from tf_simclrv2.auto.schedule import Labels, Measured, Schedule, least_s, schedule
from tf_simclrv2.auto.trials import choose_network, run_trial
from tf_simclrv2.directory_lock import directory_lock
from tf_simclrv2.errors import ConfigError, RunError
from tf_simclrv2.files import CONFIG_FILE
from tf_simclrv2.progress import Say, phase, say_at_once
from tf_simclrv2.report.build import write_comparison
from tf_simclrv2.report.story import Chapter, Story

REPORT = "report.html"
# The share of the budget after which no further network is tried.
_TRIAL_SHARE = 0.1
# The share of its time for which pretraining is planned: one that is cut short is not evaluated either.
_STEPS_SHARE = 0.9
# Flags that say where a training computes.
_DEVICES = ("strategy", "virtual_devices", "tpu_name", "master")
# What a budget that is recommended has beyond what is estimated to be needed.
_SLACK = 1.2


def auto(config: AutoConfig, say: Say = say_at_once) -> str:
    """Does a job: looks, plans, pretrains, fine-tunes, distills if that pays, exports and reports.

    Every stage is a command of its own, which is printed before it runs and can be repeated or continued by
    hand. The layer of the projection head to fine-tune from, and whether to distill, are chosen on a quarter
    of the labels, which is held out for that, if it has `schedule.FEWEST_TO_COMPARE` pictures. Pictures in
    `test` serve the final accuracy alone.

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
        'finetuned in 93 min of 2h, top-1 0.9222 on the test pictures; … next: simclrv2 serve runs/auto/model'
    """
    # The stages need the accelerators; this process only looks at files.
    for kind in ("GPU", "TPU"):
        tf.config.set_visible_devices([], kind)
    with phase("looking at the pictures", say):
        pictures = look_at(
            config.data_dir, config.labels_from, config.ignores_empty_classes, config.max_skipped_fraction
        )
    record = Record.open(config.folder, {**config.identity, "pictures": pictures.identity}, say)
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
        choices, measured = self._settings()
        folder = self._config.folder
        os.makedirs(folder, exist_ok=True)
        with directory_lock(folder, "output", "wait until that has ended, or choose another --output"):
            return self._carry_out(Commands(folder, choices, self._flags), choices, measured)

    def _carry_out(self, commands: Commands, choices: Choices, measured: Measured) -> str:
        """Does what was planned, alone in the folder of the job."""
        self._link(self._config.folder)
        self._conductor.note()
        plan = self._schedule(measured, False)
        planned = planned_lines(commands, plan, self._labels, self._pretraining(commands))
        for line in (*self._found_lines(choices), *planned):
            self._say(line)
        if self._config.dry_run:
            return "nothing was trained; the same command without --dry_run continues, or type its commands"
        self._pretrain(commands, measured)
        self._reopen()
        final = self._use_labels(commands, measured)
        self._export(commands.export(final))
        self._report(final)
        self._conductor.note()
        return self._last_line(final)

    def _settings(self) -> tuple[Choices, Measured]:
        """Chooses the settings, or takes those of a job that continues."""
        facts, conductor = self._record.facts, self._conductor
        begun = conductor.done(PRETRAINED) or conductor.saved(PRETRAINED)
        if "choices" not in facts or not (begun or facts.get("budget") == self._config.budget):
            with tempfile.TemporaryDirectory() as folder, phase("trying networks", self._say):
                link_folder(os.path.join(folder, DATA, PICTURES), self._pictures.folder)
                found = choose_network(
                    functools.partial(run_trial, folder, self._pictures.count, self._flags),
                    self._pictures.count,
                    self._pictures.median_side,
                    self._pretraining_s,
                    _TRIAL_SHARE * self._clock.budget_s,
                    self._say,
                )
            facts["choices"], facts["measured"] = map(dataclasses.asdict, found)
            facts["budget"] = self._config.budget
        choices, measured = Choices(**facts["choices"]), Measured(**facts["measured"])
        if not begun:
            self._refuse_short_budget(measured)
        return choices, measured

    def _pretraining_s(self, measured: Measured) -> float:
        """Seconds for the steps of pretraining."""
        beside = measured.beside_steps_s(probed=self._probed_split is not None)
        left = self._clock.left_s - self._schedule(measured, False).seconds - beside
        return _STEPS_SHARE * left

    def _refuse_short_budget(self, measured: Measured) -> None:
        """Before anything is trained or written, if what has to be done does not fit."""
        needed, used = least_s(measured, self._pictures.label_count), self._clock.used_s
        if self._clock.left_s < needed:
            raise ConfigError(
                f"budget is {self._config.budget!r}, but an epoch of these pictures, "
                f"{'fine-tuning, ' if self._pictures.labeled else ''}the export and the report take about "
                f"{duration(needed)} here, and {duration(used)} went into looking at them; pass "
                f"--budget={in_minutes(used + _SLACK * needed)} or more."
            )

    def _link(self, folder: str) -> None:
        """Makes what the commands read."""
        data, pictures = os.path.join(folder, DATA), self._pictures
        link_folder(os.path.join(data, PICTURES), pictures.folder)
        for name, labeled in ((LEARN, self._learn), (LABELED, pictures.labeled)):
            if labeled:
                write_labels(os.path.join(data, name), PICTURES, pictures.folder, labeled)
        if self._choose:
            link_classes(os.path.join(data, CHOOSE), self._choose)
        if pictures.test_folder:
            link_folder(os.path.join(data, TEST), pictures.test_folder)

    def _pretrain(self, commands: Commands, measured: Measured) -> None:
        """Pretrains; what has no checkpoint cannot be continued from."""
        if not self._conductor.done(PRETRAINED):
            self._run(self._pretraining(commands), measured, self._schedule(measured, False).seconds)
        if not self._conductor.done(PRETRAINED):
            needed = self._clock.used_s + _SLACK * least_s(measured, self._pictures.label_count)
            raise RunError(
                f"pretraining did not get to its first checkpoint within {self._config.budget}; type the "
                f"same command with --budget={in_minutes(needed)} or more to continue."
            )
        if (reached := self._reached(PRETRAINED)) != "-":
            held_out = f"{count_labels(self._choose)} held-out pictures"
            on = "the test pictures" if self._test_split else held_out
            self._say(f"pretrained, with frozen features: {reached} of {on}")

    def _pretraining(self, commands: Commands) -> Stage:
        # A classifier of the features that had seen the pictures to test on would flatter them.
        return commands.pretrain(LABELED if self._test_split else LEARN, self._probed_split)

    def _export(self, stage: Stage) -> None:
        """Exports; an earlier export of another stage, for which time sufficed then, is replaced."""
        if self._record.stages.get(MODEL, {}).get("command") != stage.text:
            self._record.stages.pop(MODEL, None)
        self._conductor.run(stage)

    def _run(self, stage: Stage, measured: Measured, spare_s: float) -> None:
        self._conductor.run(stage, spare_s, measured.start_s)

    def _schedule(self, measured: Measured, pretrained: bool) -> Schedule:
        return schedule(measured, self._labels, self._clock.left_s, pretrained)

    @property
    def _labels(self) -> Labels:
        return Labels(self._pictures.label_count, count_labels(self._learn), self._test_split is not None)

    def _decided(self, name: str, decide: Callable[[], Any]) -> Any:
        """Decides once: a job that continues has less time left, by which it might decide otherwise."""
        if name not in self._record.facts:
            self._record.facts[name] = decide()
            self._conductor.note()
        return self._record.facts[name]

    def _reopen(self) -> None:
        """If the budget has grown since, forgets for what there was no time, and what was cut short."""
        facts, stages, budget = self._record.facts, self._record.stages, self._clock.budget_s
        if budget > facts.get("decided_with_s", budget):
            for decided in ("distills", "measures"):
                if not facts.get(decided, True):
                    del facts[decided]
            for name in [name for name in stages if name != PRETRAINED and not stages[name]["whole"]]:
                del stages[name]  # It continues from its checkpoint.
                stages.pop(MODEL, None)  # The export may be of that checkpoint.
        facts["decided_with_s"] = budget

    def _use_labels(self, commands: Commands, measured: Measured) -> str:
        """Fine-tunes, and distills if that pays; returns the name of the stage that is taken."""
        if not self._pictures.labeled:
            return PRETRAINED
        labels = self._labels
        layers = self._decided("layers", lambda: [*self._schedule(measured, pretrained=True).layers])
        layer = layers[0]
        if len(layers) > 1:
            layer = self._decided("layer", lambda: self._compare_layers(commands, measured))
        elif self._decided("measures", lambda: self._measures(measured)):
            rest = measured.closing_s + measured.finetune_s(labels.count)
            self._run(commands.finetune(f"layer_{layer}", layer, labels.learn, LEARN, CHOOSE), measured, rest)
        stage = commands.finetune("finetuned", layer, labels.count, LABELED, self._test_split)
        self._run(stage, measured, measured.closing_s)
        if self._conductor.done(stage.name):
            distill = self._distill_if_it_pays if labels.compare else self._distill
            return distill(commands, measured, layer)
        best = next(name for name in (f"layer_{layer}", PRETRAINED) if self._conductor.done(name))
        self._say(f"{best} is taken instead; the same command with a larger --budget continues")
        return best

    def _measures(self, measured: Measured) -> bool:
        """Whether the held-out labels, too few to compare by, say how good the result is."""
        return self._labels.measure and self._schedule(measured, pretrained=True).measures

    def _distill(self, commands: Commands, measured: Measured, layer: int) -> str:
        """Distills if there is time; returns the name of the stage that is taken."""
        needed = measured.closing_s + measured.distill_s()
        if not self._decided("distills", lambda: self._clock.left_s > needed):
            return "finetuned"
        stage = commands.distill("distilled", "finetuned", layer, LABELED, self._test_split)
        self._run(stage, measured, measured.closing_s)
        return "distilled" if self._conductor.whole("distilled") else "finetuned"

    def _distill_if_it_pays(self, commands: Commands, measured: Measured, layer: int) -> str:
        """Tries a student on the held-out labels first; returns the name of the stage that is taken."""
        learn, teacher = self._labels.learn, f"layer_{layer}"
        last = measured.closing_s + measured.distill_s()
        both = last + measured.distill_s()
        needed = both + (0.0 if self._conductor.done(teacher) else measured.finetune_s(learn))
        if not self._decided("distills", lambda: self._clock.left_s > needed):
            return "finetuned"
        self._run(commands.finetune(teacher, layer, learn, LEARN, CHOOSE), measured, both)
        if not self._conductor.done(teacher):
            return "finetuned"
        self._run(commands.distill("student", teacher, layer, LEARN, CHOOSE), measured, last)
        found, before = (accuracy(self._config.folder, name) for name in ("student", teacher))
        if found is None or before is None:  # There was no time; that was said.
            return "finetuned"
        if found < before:
            self._say(f"distillation did not help: {percent(found)}, its teacher {percent(before)}")
            return "finetuned"
        return self._distill(commands, measured, layer)

    def _compare_layers(self, commands: Commands, measured: Measured) -> int:
        learn = self._labels.learn
        needed = measured.closing_s + measured.finetune_s(self._labels.count)
        found: dict[int, float | None] = {}
        for layer in range(HEAD_LAYERS):
            name = f"layer_{layer}"
            fits = self._clock.left_s >= needed + measured.finetune_s(learn)
            if found and not fits and not self._conductor.done(name):
                continue
            self._run(commands.finetune(name, layer, learn, LEARN, CHOOSE), measured, needed)
            found[layer] = accuracy(self._config.folder, name)
        layer = best_layer(found)
        numbers = ", ".join(f"layer {at} {percent(value)}" for at, value in found.items())
        held_out = f"{count_labels(self._choose)} held-out pictures"
        self._say(f"fine-tuned from {numbers} of {held_out}; using layer {layer}")
        return layer

    @property
    def _flags(self) -> tuple[str, ...]:
        """Further flags of every training; devices cannot share few labels, so one is used."""
        asked = self._config.flags
        chosen = any(word.lstrip("-").partition("=")[0] in _DEVICES for word in asked)
        several = len(tf.config.list_physical_devices("GPU")) > 1
        return ("--strategy=one_device", *asked) if several and not chosen else asked

    @property
    def _test_split(self) -> str | None:
        return TEST if self._pictures.test_folder else None

    @property
    def _probed_split(self) -> str | None:
        """What the pretrained network is evaluated on."""
        return self._test_split or (CHOOSE if self._choose else None)

    def _report(self, final: str) -> None:
        folder, stages = self._config.folder, self._record.stages
        chapters = [
            Chapter(name, stage["command"], duration(stage["seconds"]), self._reached(name))
            for name, stage in stages.items()
        ]
        choices = Choices(**self._record.facts["choices"])
        story = Story(tuple(self._found_lines(choices)), tuple(chapters), self._last_line(final))
        # A finished stage may have been removed, to make room.
        paths = [os.path.join(folder, name) for name in stages if name != MODEL]
        paths = [path for path in paths if os.path.exists(os.path.join(path, CONFIG_FILE))]
        with phase("writing the report", self._say):
            write_comparison(paths, os.path.join(folder, REPORT), story)

    def _found_lines(self, choices: Choices) -> list[str]:
        config = self._config
        return found_lines(self._pictures, choices, config.budget, config.folder, config.flags)

    def _reached(self, stage: str) -> str:
        if stage != PRETRAINED:
            return percent(accuracy(self._config.folder, stage))
        found = probe_accuracies(self._config.folder, PRETRAINED)
        return ", ".join(f"{name} {percent(value)}" for name, value in found.items()) or "-"

    def _last_line(self, final: str) -> str:
        folder = self._config.folder
        served = os.path.join(folder, MODEL)
        took = f"{duration(self._clock.used_s)} of {self._config.budget}"
        if final == PRETRAINED:
            next_ = f"simclrv2 embed {served} --data_dir=FOLDER"
            return f"pretrained in {took}; see {folder}/{REPORT}; next: {next_}"
        found, on = accuracy(folder, final), "the test pictures"
        if found is None or final.startswith("layer_"):
            layers = [accuracy(folder, f"layer_{layer}") for layer in range(HEAD_LAYERS)]
            found = max((value for value in layers if value is not None), default=None)
            on = f"{count_labels(self._choose)} held-out labels, before it was trained on them"
        top_1 = "no accuracy was measured" if found is None else f"top-1 {found:.4f} on {on}"
        return f"{final} in {took}, {top_1}; see {folder}/{REPORT}; next: simclrv2 serve {served}"
