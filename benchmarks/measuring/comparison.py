"""Contenders that take turns, each turn in a process of its own, and the table of what they took."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.measuring.child import numbers_of


@dataclasses.dataclass(frozen=True)
class Contender:
    """Who is measured.

    Attributes:
        name: In the table.
        command: A program that measures one turn; its last line is a JSON list of seconds.
    """

    name: str
    command: list[str]


@dataclasses.dataclass(frozen=True)
class Spread:
    """The middle and the ends of the seconds of a contender."""

    median: float
    fastest: float
    slowest: float


def take_turns(contenders: Sequence[Contender], rounds: int) -> dict[str, list[float]]:
    """Seconds by contender. They alternate (A B A B), so that drift of the machine meets all alike.

    Args:
        contenders: In the order of their turns.
        rounds: Turns of each.
    """
    turns = printed_in_turns({contender.name: contender.command for contender in contenders}, rounds)
    return {name: [second for turn in found for second in turn] for name, found in turns.items()}


def printed_in_turns(commands: dict[str, list[str]], rounds: int) -> dict[str, list[Any]]:
    """What the last line of each turn says, by contender. They alternate, as in `take_turns`.

    Args:
        commands: By contender, in the order of their turns.
        rounds: Turns of each.
    """
    printed: dict[str, list[Any]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            printed[name].append(numbers_of(command))
    return printed


def steps_of(turns: dict[str, list[Any]]) -> dict[str, list[float]]:
    """The `step_s` of all of a contender's turns, from what they printed."""
    return {name: [second for turn in found for second in turn["step_s"]] for name, found in turns.items()}


def spread(seconds: Sequence[float]) -> Spread:
    """Median, least and most."""
    return Spread(statistics.median(seconds), min(seconds), max(seconds))


def markdown(title: str, seconds: dict[str, list[float]], amount: float = 0.0, unit: str = "") -> str:
    """A table; the first contender is the one that the others are held to.

    Args:
        title: Over the first column.
        seconds: By contender, as from `take_turns`.
        amount: What is done in these seconds, for a column of `unit` a second; 0 leaves it out.
        unit: For example `images`.
    """
    first = spread(next(iter(seconds.values()))).median
    heads = [
        title,
        "median, s",
        "fastest to slowest",
        *([f"{unit}/s"] if amount else []),
        "first against this",
    ]
    rows = [heads, ["---"] * len(heads)]
    for name, found in seconds.items():
        of = spread(found)
        rate = [f"{amount / of.median:.2f}"] if amount else []
        ends = f"{of.fastest:.3f} to {of.slowest:.3f}"
        rows.append([name, f"{of.median:.3f}", ends, *rate, f"{of.median / first:.2f}"])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
