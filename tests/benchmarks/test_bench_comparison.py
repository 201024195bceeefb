import pathlib
import sys

import pytest

from benchmarks import every
from benchmarks.measuring.comparison import (
    Contender,
    Spread,
    markdown,
    printed_in_turns,
    spread,
    steps_of,
    take_turns,
)

# Notes its name in a file and says how many names are there by now.
PROGRAM = """
import json, pathlib, sys
log = pathlib.Path(sys.argv[1])
with log.open("a") as file:
    file.write(sys.argv[2])
print("warming up")
print(json.dumps([len(log.read_text()), 0.5]))
"""


def fake(name: str, log: pathlib.Path) -> Contender:
    return Contender(name, [sys.executable, "-c", PROGRAM, str(log), name])


def test_contenders_alternate_and_keep_their_own_seconds(tmp_path):
    log = tmp_path / "turns"
    seconds = take_turns([fake("a", log), fake("b", log)], rounds=3)
    assert log.read_text() == "ababab"
    assert seconds == {"a": [1, 0.5, 3, 0.5, 5, 0.5], "b": [2, 0.5, 4, 0.5, 6, 0.5]}


def test_steps_of_programs_that_print_more_than_their_steps(tmp_path):
    log = tmp_path / "turns"
    program = PROGRAM.replace(
        "[len(log.read_text()), 0.5]", '{"step_s": [len(log.read_text())], "name": sys.argv[2]}'
    )
    commands = {name: [sys.executable, "-c", program, str(log), name] for name in "ab"}
    turns = printed_in_turns(commands, rounds=2)
    assert [turn["name"] for turn in turns["b"]] == ["b", "b"]
    assert steps_of(turns) == {"a": [1, 3], "b": [2, 4]}


def test_spread():
    assert spread([4.0, 1.0, 2.0]) == Spread(median=2.0, fastest=1.0, slowest=4.0)
    assert spread([4.0, 1.0]).median == 2.5


def test_the_table_holds_all_to_the_first():
    lines = markdown("views", {"ours": [2.0, 1.0, 3.0], "peer": [5.0]}, 64, "images").splitlines()
    assert lines[0] == "| views | median, s | fastest to slowest | images/s | first against this |"
    assert lines[2] == "| ours | 2.000 | 1.000 to 3.000 | 32.00 | 1.00 |"
    assert lines[3] == "| peer | 5.000 | 5.000 to 5.000 | 12.80 | 2.50 |"
    assert "images" not in markdown("views", {"ours": [2.0]})


SHARED = {
    "--peer": "lightly",
    "--torch_python": None,
    "--published": "tf2",
    "--published_python": None,
    "--rounds": "1",
}


@pytest.mark.parametrize("benchmark", every.BENCHMARKS, ids=lambda benchmark: benchmark.name)
def test_every_program_exists_and_is_given_what_it_takes(benchmark, tmp_path):
    program = pathlib.Path(every.HERE / f"{benchmark.program}.py")
    words = every.command(benchmark, tmp_path, SHARED)
    assert words[:2] == [sys.executable, str(program)]
    text = program.read_text()
    for option in words[2:]:
        assert f'"{option.split("=")[0]}"' in text
    assert ("--peer=lightly" in words) == ("--peer" in benchmark.shared)
    assert ("--rounds=1" in words) == ("--rounds" in benchmark.shared)
    assert ("--published=tf2" in words) == ("--published" in benchmark.shared)
    assert not any(word.endswith("=None") for word in words)
    assert words[-1] == f"--json={tmp_path / benchmark.name}.json"


def test_what_is_no_table_keeps_its_columns():
    table = "| a |\n| --- |\n| 1 |\n"
    assert every.section("replicas", "1  2\n") == "## replicas\n\n```\n1  2\n```\n\n"
    assert every.section("startup", table) == f"## startup\n\n{table}\n"
