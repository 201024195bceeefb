"""The program `simclrv2`: the first word chooses the command, the others are its options."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import sys
from collections.abc import Sequence

from tf_simclrv2.config import TrainingConfig
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.interruption import CONTINUE, NOTHING_WRITTEN, START_AGAIN, CtrlC
from tf_simclrv2.plain_errors import errors_in_a_sentence
from tf_simclrv2.setting import settings_of
from tf_simclrv2.version import VERSION


@dataclasses.dataclass(frozen=True)
class Command:
    """A command of `simclrv2`.

    Attributes:
        module: The module whose `main()` runs it; imported only then.
        help: Its line in the list of commands.
        stopped: What it says when Ctrl-C ends it, unless it knows better.
        options: Options that it stands for. They come last, as recipes have a mode of their own.
    """

    module: str
    help: str
    stopped: str = START_AGAIN
    options: tuple[str, ...] = ()


COMMANDS = {
    "run": Command(
        "tf_simclrv2.cli.run",
        "pretrain, fine-tune, train with labels, or distill; --mode chooses training, evaluation or both",
    ),
    "train": Command("tf_simclrv2.cli.run", "the same with --mode=train", options=("--mode=train",)),
    "eval": Command("tf_simclrv2.cli.run", "the same with --mode=eval", options=("--mode=eval",)),
    "auto": Command(
        "tf_simclrv2.cli.auto",
        "run the whole pipeline within a time budget: from pictures to a model and a report",
        stopped=CONTINUE,
    ),
    "export": Command(
        "tf_simclrv2.cli.export",
        "write a SavedModel, a TF-Hub archive, a serving bundle, TFLite files or ONNX",
        stopped=NOTHING_WRITTEN,
    ),
    "convert": Command(
        "tf_simclrv2.cli.convert", "convert weights to and from the published form", stopped=NOTHING_WRITTEN
    ),
    "embed": Command(
        "tf_simclrv2.cli.embed",
        "write the features of images to a file, with names, classes and predictions",
        stopped=CONTINUE,
    ),
    "search": Command(
        "tf_simclrv2.cli.search",
        "find the embedded images that are most similar to given ones",
        stopped=NOTHING_WRITTEN,
    ),
    "duplicates": Command(
        "tf_simclrv2.cli.duplicates",
        "find groups of embedded images that are nearly the same",
        stopped=NOTHING_WRITTEN,
    ),
    "select": Command(
        "tf_simclrv2.cli.select",
        "choose which embedded images to label next",
        stopped=NOTHING_WRITTEN,
    ),
    "serve": Command(
        "tf_simclrv2.cli.serve",
        "answer requests with an exported module, over HTTP as TensorFlow Serving does",
    ),
    "doctor": Command(
        "tf_simclrv2.doctor.__main__",
        "report what this machine can do, and what a run would cost",
    ),
    "rehearse": Command(
        "tf_simclrv2.cli.rehearse",
        "compile a run's step for a TPU slice that you need not have: memory, bounds on its speed",
    ),
    "report": Command(
        "tf_simclrv2.report.__main__",
        "write the report of a run, or a page that compares several runs",
        stopped=NOTHING_WRITTEN,
    ),
    "data-service": Command(
        "tf_simclrv2.cli.data_service", "decode and augment images for training on other hosts"
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command.

    Args:
        arguments: The command and its options; None uses those of the process.

    Raises:
        SystemExit: With code 2 if there is no such command.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return
    if words[0] == "--version":
        print(VERSION)
        return
    name = words.pop(0)
    if name not in COMMANDS:
        print(f"error: {_refusal(name)}", file=sys.stderr)
        sys.exit(2)
    run_command(name, words, f"simclrv2 {name}")


def run_command(name: str, words: Sequence[str], program: str) -> None:
    """Runs a command that exists; Ctrl-C and errors of its user end it with one line.

    Args:
        name: One of `COMMANDS`.
        words: Its options.
        program: How a person starts it, for help and messages.
    """
    command = COMMANDS[name]
    with CtrlC(command.stopped), errors_in_a_sentence():
        _refuse_contradiction(name, words)
        sys.argv = [program, *words, *command.options]
        importlib.import_module(command.module).main()


def _refuse_contradiction(name: str, words: Sequence[str]) -> None:
    """Refuses a typed option whose value is another than the one that the command stands for."""
    for option in COMMANDS[name].options:
        flag = option.partition("=")[0]
        for word, next_word in zip(words, [*words[1:], ""], strict=True):
            typed, equals, value = word.partition("=")
            if typed not in (flag, flag[1:]):  # One hyphen does, too, and so does a value as the next word.
                continue
            asked = f"{flag}={value if equals else next_word}"
            if asked != option:
                raise ConfigError(
                    f"simclrv2 {name} stands for {option}, not for {asked}; use simclrv2 run {asked}."
                )


def usage() -> str:
    """Returns the list of commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.help}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: simclrv2 COMMAND [OPTIONS]",
            "",
            *lines,
            "",
            "simclrv2 COMMAND --help lists its options. --flagfile=quickstart uses the recipe of that name.",
        ]
    )


def _refusal(name: str) -> str:
    if name.startswith("-"):
        return f"{name!r} is not a command; the command comes first, as in simclrv2 run {name}."
    if name in settings_of(TrainingConfig)["train_mode"].choices:
        return f"{name!r} is not a command; use simclrv2 run --train_mode={name}."
    close = difflib.get_close_matches(name, COMMANDS, 1)
    guess = f"did you mean {close[0]}? " if close else ""
    return f"{name!r} is not a command; {guess}simclrv2 --help lists them."
