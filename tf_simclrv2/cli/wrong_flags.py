"""Sentences about a command line whose flags cannot be read."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Sequence

from absl import flags

from tf_simclrv2.command_line import unknown_flag

# What a value must be, by the type that absl has for it.
_NEEDED = {"bool": "true or false", "int": "a whole number", "float": "a number"}
_LIST = "words with commas between them, on one line and without quotation marks"


def refusal(error: flags.Error | ValueError, ours: Collection[str]) -> str:
    """Returns the sentence for an error of absl's parser.

    Args:
        error: What it raised.
        ours: Names of the program's own flags.
    """
    if isinstance(error, flags.UnrecognizedFlagError):
        # A line of a file of flags is one word, whatever is in it.
        name, _, value = error.flagname.partition(" ")
        if value and name in ours:
            return f"--{error.flagname} has a space after the name; write --{name}={value.strip()}."
        return unknown_flag(name, with_negations(ours))
    text = str(error)
    if missing := re.search(r"--(\w+) must have a value other than None", text):
        return f"{missing[1]} is not set; pass --{missing[1]}=…"
    if missing := re.fullmatch(r"Missing value for flag -*(\S+)", text):
        return _without_value(missing[1])
    if negated := re.fullmatch(r"-*(no(\w+))=(.*) does not take an argument", text):
        return f"--{negated[1]} takes no value; write --{negated[1]} or --{negated[2]}={negated[3]}."
    if wrong := re.match(r"flag --(\w+)=", text):
        # absl appends the reason, in the words of Python's `int` or `float`.
        value = text.removeprefix(wrong[0]).removesuffix(f": {error.__context__}")
        return f"{wrong[1]} is {value!r}; {_needed(flags.FLAGS[wrong[1]])}."
    return " ".join(text.split())


def value_that_is_a_flag(words: Sequence[str]) -> str:
    """Returns a sentence if a flag lacks its value, so that the next flag would be taken for it; or empty."""
    for word, following in itertools.pairwise(words):
        name = word.lstrip("-")
        takes_next = word.startswith("-") and name in flags.FLAGS and not flags.FLAGS[name].boolean
        if takes_next and following.startswith("--"):
            return _without_value(name)
    return ""


def word_that_is_not_a_flag(word: str, words: Sequence[str]) -> str:
    """Returns the sentence for a word without dashes.

    Args:
        word: The first such word.
        words: The command line that holds it.
    """
    before = words[words.index(word) - 1].lstrip("-")
    if before in flags.FLAGS and flags.FLAGS[before].boolean:
        return f"{word!r} is not a flag; write --{before}={word}, with an equals sign."
    return f"{word!r} is not a flag; every option starts with --."


def with_negations(names: Collection[str]) -> set[str]:
    """Returns the names, and `noNAME` for those that are true or false."""
    return {*names, *(f"no{name}" for name in names if name in flags.FLAGS and flags.FLAGS[name].boolean)}


def _without_value(name: str) -> str:
    return f"{name} has no value; pass --{name}=…"


def _needed(flag: flags.Flag) -> str:
    choices = getattr(flag.parser, "enum_values", None)
    return (
        f"choose one of {', '.join(choices)}"
        if choices
        else f"it must be {_NEEDED.get(flag.flag_type(), _LIST)}"
    )
