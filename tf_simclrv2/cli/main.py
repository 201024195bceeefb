"""The program `simclrv2`: the first word chooses the command, the others are its options."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import sys
from collections.abc import Sequence

from tf_simclrv2.backend import quiet_tensorflow
from tf_simclrv2.cli.recipes import with_recipes_found
from tf_simclrv2.version import VERSION


@dataclasses.dataclass(frozen=True)
class Command:
    """A command of `simclrv2`.

    Attributes:
        module: The module whose `main()` runs it; imported only then.
        help: Its line in the list of commands.
        options: Options that come before the user's.
        imports_tensorflow: Whether the module imports TensorFlow before it has read its options.
    """

    module: str
    help: str
    options: tuple[str, ...] = ()
    imports_tensorflow: bool = False


COMMANDS = {
    "run": Command(
        "tf_simclrv2.cli.run",
        "pretrain, fine-tune, train with labels, or distill; --mode chooses training, evaluation or both",
    ),
    "train": Command("tf_simclrv2.cli.run", "the same with --mode=train", ("--mode=train",)),
    "eval": Command("tf_simclrv2.cli.run", "the same with --mode=eval", ("--mode=eval",)),
    "export": Command(
        "tf_simclrv2.cli.export", "write a SavedModel, a TF-Hub archive, a serving bundle or TFLite files"
    ),
    "convert": Command("tf_simclrv2.cli.convert", "convert weights to and from the published form"),
    "doctor": Command(
        "tf_simclrv2.doctor.__main__", "report what this machine can do, and what a run would cost"
    ),
    "report": Command(
        "tf_simclrv2.report.__main__", "write the report of a run, or a page that compares several runs"
    ),
    "data-service": Command(
        "tf_simclrv2.data.service",
        "decode and augment images for training on other hosts",
        imports_tensorflow=True,
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
    command = COMMANDS[name]
    if command.imports_tensorflow:
        quiet_tensorflow()
    sys.argv = [f"simclrv2 {name}", *command.options, *with_recipes_found(words)]
    importlib.import_module(command.module).main()


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
    close = difflib.get_close_matches(name, COMMANDS, 1)
    guess = f"did you mean {close[0]}? " if close else ""
    return f"{name!r} is not a command; {guess}simclrv2 --help lists them."
