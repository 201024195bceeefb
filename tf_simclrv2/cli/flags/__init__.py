"""Every flag of the programs, and the one place where they are read."""

from __future__ import annotations

from typing import Any

from absl import flags

from tf_simclrv2.cli.flags import doctor, published, settings
from tf_simclrv2.config import AREAS, ExperimentConfig

FLAGS = flags.FLAGS
# Which labels to learn from.
_SUBSET = ("labels_per_class", "label_fraction", "labels_per_class_at_most")
_LABELED = ("labeled_split", "labeled_batch_size")
_DISTILLATION = ("teacher", "distill_alpha", "distill_temperature")
_PRETRAINING = (
    *("temperature", "hidden_norm", "memory_decay", "use_blur", "blur_sigma", "color_jitter_strength"),
    *("lineareval_while_pretraining", "online_learning_rate"),
)


def define_flags() -> None:
    """Defines the flags of a run; once per process."""
    for kind in (settings, published, doctor):
        kind.define()


def config_from_flags() -> ExperimentConfig:
    """Returns the config that the command line describes.

    Raises:
        ConfigError: A flag, or a combination of flags, is impossible.
    """
    areas = {
        area: config(**{setting.name: settings.value_of(setting) for setting in settings.flagged(area)})
        for area, config in AREAS.items()
    }
    return ExperimentConfig(**{**areas, "run": published.applied(areas["run"])})


def explicit_fields() -> set[str]:
    """Returns the config fields that the user set on the command line or in a flagfile."""
    return {setting.name for setting in _settings() if FLAGS[setting.flag].present}


def notes_on_flags() -> list[str]:
    """Returns a line for each flag in use that does nothing here, or something else than its name says."""
    notes = dict(published.LEGACY_NOTES)
    if FLAGS.mode == "eval":
        notes["checkpoint"] = "ignored, because an evaluation uses the newest checkpoint in model_dir"
    else:
        notes |= _notes_on_stage() | _notes_on_labels()
    if FLAGS.mode != "eval" and FLAGS.keep_best == "none":
        notes["validation_split"] = "ignored, because keep_best is none"
    return [f"--{name}: {note}" for name, note in notes.items() if _is_given(FLAGS[name])]


def _notes_on_stage() -> dict[str, str]:
    """Notes on the flags that only pretraining uses, in another stage."""
    if FLAGS.train_mode == "pretrain":
        return {}
    notes = dict.fromkeys(_PRETRAINING, "ignored, because only pretraining uses it")
    if FLAGS.train_mode == "distill":
        notes["temperature"] += "; that of distillation is --distill_temperature"
    return notes


def _notes_on_labels() -> dict[str, str]:
    """Notes on the flags of labels and of distillation that the stage does not use."""
    notes = {}
    if FLAGS.train_mode != "distill":
        notes |= dict.fromkeys((*_DISTILLATION, *_LABELED), "ignored, because only distillation uses it")
    elif FLAGS.distill_alpha == 1.0:
        why = "ignored, because at distill_alpha 1 no labels are used"
        notes |= dict.fromkeys((*_LABELED, *_SUBSET), why)
    if FLAGS.train_mode == "pretrain":
        notes |= dict.fromkeys(_SUBSET, "ignored, because only stages that learn from labels use it")
    return notes


def _is_given(flag: flags.Flag) -> bool:
    return bool(flag.present) and flag.value not in ("", flag.default)


def flag_values() -> dict[str, Any]:
    """Returns the flags that describe a run and their values, as `flags.json` records them."""
    names = [*(setting.flag for setting in _settings()), *published.NAMES]
    return {name: FLAGS[name].value for name in sorted(names)}


def _settings() -> list[settings.Setting]:
    return [setting for area in AREAS for setting in settings.flagged(area)]
