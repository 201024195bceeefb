"""What `--help` prints: the flags that a person needs, in one screen."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence

from absl import flags

from tf_simclrv2.cli.recipes import recipe_names

WORDS = ("-h", "-help", "--help", "--helpshort", "-?")
EVERY_FLAG = ("--helpfull", "-helpfull")
WIDTH = 100
_NAME_WIDTH = 24
# Of about 80 that a run has; `--helpfull` lists them all.
RUN = {
    "what to do": ("mode", "train_mode", "model_dir", "checkpoint", "teacher", "doctor"),
    "images": (
        "dataset",
        "data_dir",
        "train_split",
        "eval_split",
        "image_size",
        "labels_per_class",
        "label_fraction",
    ),
    "augmentation": ("crop_min_area", "color_jitter_strength", "use_blur"),
    "network": ("resnet_depth", "width_multiplier", "ft_proj_selector", "fine_tune_after_block"),
    "training": (
        "train_epochs",
        "train_batch_size",
        "learning_rate",
        "learning_rate_scaling",
        "warmup_epochs",
        "weight_decay",
        "temperature",
        "precision",
    ),
    "results": ("checkpoint_epochs", "eval_protocols"),
}


def help_page(program: str, purpose: str, groups: Mapping[str, Sequence[str]], footer: str = "") -> str:
    """Returns a program's help.

    Args:
        program: How it is started, for example `python run.py`.
        purpose: What it does, in a sentence.
        groups: Names of flags by heading; they are defined already.
        footer: What follows the flags.
    """
    lines = [f"usage: {program} --FLAG=VALUE …", purpose]
    for heading, names in groups.items():
        lines += [f"{heading}:", *(_line(name) for name in names)]
    return "\n".join([*lines, *([footer] if footer else [])])


def run_footer() -> str:
    """Returns what follows the flags of a run: where to find the others, and the recipes."""
    recipes = f"recipes, for --flagfile=NAME: {', '.join(recipe_names())}"
    return "\n".join([*textwrap.wrap(recipes, WIDTH, subsequent_indent="  "), "--helpfull lists every flag."])


def full_help_page(program: str) -> str:
    """Returns the help of every flag, with its limits: the program's own by area, then absl's.

    Args:
        program: How it is started.
    """
    sections = sorted(flags.FLAGS.flags_by_module_dict(), key=lambda name: (name.startswith("absl."), name))
    return "\n".join([f"usage: {program} --FLAG=VALUE …", *map(flags.FLAGS.module_help, sections)]).rstrip()


def _line(name: str) -> str:
    flag = flags.FLAGS[name]
    choices = getattr(flag.parser, "enum_values", None)
    # absl writes them in front of the help.
    text = _first_clause(str(flag.help).partition(">: ")[2] if choices else str(flag.help))
    if choices:
        text = f"{text}: {', '.join(choices)}"
    default = flag.default_as_str.strip("'") if flag.default not in (None, "", False) else ""
    if default:
        text = f"{text} [{default}]"
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=f"  {'--' + name:<{_NAME_WIDTH}}",
        subsequent_indent=" " * (_NAME_WIDTH + 2),
        break_on_hyphens=False,
    )


def _first_clause(text: str) -> str:
    """The text up to its first full stop, semicolon or colon, without a parenthesis that is cut there."""
    clause = re.split(r"[.;:](?:\s|$)", text)[0]
    return clause[: clause.rindex(" (")] if clause.count("(") > clause.count(")") else clause
