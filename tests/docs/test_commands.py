"""Every command of the documents is one that its program takes: flags, values, targets, arguments, names."""

from __future__ import annotations

import argparse
import ast
import functools
import inspect
import json
import pathlib
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tf_simclrv2.cli.main import COMMANDS, main
from tf_simclrv2.cli.recipes import with_flagfiles_read
from tf_simclrv2.command_line import ArgumentParser

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("flags/recipes/*.cfg")]
# Nothing here is trained: a long command is parsed by its own program instead of run. The examples and
# the tutorial are run by tests/export/test_examples.py and tests/docs/test_tutorial.py.
# What is not of ours, by its beginning, and why it is not parsed either.
NOT_OURS = {
    "export TF_CONFIG=": "a shell's; the worker's command behind it is parsed",
    "until python run.py --flagfile=run.cfg;": "a loop over a flagfile of the reader's own",
    "docker ": "TensorFlow Serving's image, which the tests cannot fetch",
    "curl ": "asks a server, whose answers tests/serving checks",
    'pip install "tf_simclrv2[serve]"': "needs the network",
    "xargs ": "a shell's, which tests/docs/test_work.py types",
    "tensorboard --logdir": "TensorBoard's own program",
    "python -m tf2onnx.convert": "tf2onnx's own program, which tests/export runs",
    "git clone": "needs the network",
    "pip install .": "needs the network",
    "cd ": "a shell's",
    "step 172 of 1,100:": "what a run prints",
    "smallnorb/train:": "what a run prints",
    "stopped by Ctrl-C at step": "what a run prints",
}
# Programs whose flags are absl's: what defines them, and what judges their combination.
ABSL_PROGRAMS = {
    "run.py": ("flags", "define_flags", "config_from_flags"),
    "-m export": ("tf_simclrv2.cli.flags.export", "define", ""),
    "-m export.convert": ("tf_simclrv2.cli.flags.convert", "define", ""),
    "rehearse": ("tf_simclrv2.cli.rehearse", "define_all", "config_from_flags"),
}
# Commands of the installed program, and what is the same in a checkout.
FRONT_DOORS = {
    **dict.fromkeys(("run", "train", "eval"), "run.py"),
    "export": "-m export",
    "convert": "-m export.convert",
    "rehearse": "rehearse",
}
# Parses many command lines in one process; prints what is wrong with each, or null.
PARSE_ALL = """
import importlib, json, sys
from absl import flags
from absl.testing import flagsaver
(module, define, judge), lines = json.load(sys.stdin)
module = importlib.import_module(module)
getattr(module, define)()

def fault(line):
    try:
        with flagsaver.flagsaver():
            rest = flags.FLAGS(["program", *line])[1:]
            if judge:
                getattr(module, judge)()
            return f"{rest} are no flags" if rest else None
    except Exception as error:
        return repr(error)

print(json.dumps([fault(line) for line in lines]))
"""


class Parsed(Exception):
    """A program has read its command line."""


def _lines(path: pathlib.Path) -> Iterator[str]:
    """Lines of shell blocks, of indented blocks and of recipes' headers; continued ones are joined."""
    text = path.read_text()
    if path.suffix == ".cfg":
        text = "\n".join(line[4:] for line in text.splitlines() if line.startswith("#   "))
    else:
        shell = re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
        indented = re.findall(r"^    \S.*(?:\n {4,}\S.*)*", prose, re.MULTILINE)
        text = "\n".join([*shell, *indented])
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if line.strip() and not line.strip().startswith("#"):
            yield line.strip()
            yield from _made(line.strip())
    if path.suffix == ".md":
        yield from _in_sentences(path.read_text())


def _in_sentences(text: str) -> Iterator[str]:
    """The benchmarks' commands between backticks; a path without arguments is not a command."""
    for python, command in re.findall(r"(?<!`)`(python )?(benchmarks/[^`]+)`", text):
        line = f"python {' '.join(command.split())}"
        if python or len(command.split()) > 1:
            yield line


def _made(line: str) -> Iterator[str]:
    """Our own programs that a make command runs, with the values that it is given."""
    if not line.startswith("make "):
        return
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", "")
    arguments = _words(line)[1:]
    values = dict(re.findall(r"^(\w+) \?= ?(.*)$", makefile, re.MULTILINE))
    values |= dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    for target in arguments:
        recipe = re.search(rf"^{re.escape(target)}:.*\n((?:\t.*\n)*)", makefile, re.MULTILINE)
        for command in recipe[1].splitlines() if recipe else ():
            command = command.strip().replace("$(python)", "python").removeprefix(".build/rehearsal/bin/")
            if command.startswith(("python benchmarks/", "python run.py", "simclrv2 ")):
                yield re.sub(r"\$\((\w+)\)", lambda name: values[name[1]], command)


def _commands() -> list[tuple[str, str]]:
    return [(str(path.relative_to(ROOT)), line) for path in DOCUMENTS for line in _lines(path)]


def _words(line: str) -> list[str]:
    """The arguments of a command; an ellipsis and a remark are none, and `(…)` behind a recipe's is one."""
    words = shlex.split(re.sub(r"\s+\(.*\)$", "", line), comments=True)
    return [word for word in words if word not in ("…", "...")]


def _program_of(line: str) -> tuple[str, list[str]]:
    """`run.py`, `-m export`, `make`, … and the arguments."""
    first, *rest = _words(line)
    if first == "simclrv2" and rest[0] in FRONT_DOORS:
        words = [*COMMANDS[rest[0]].options, *rest[1:]]
        return FRONT_DOORS[rest[0]], with_flagfiles_read(words)
    if first.removeprefix(".venv/bin/") != "python":
        return first, rest
    return (" ".join(rest[:2]), rest[2:]) if rest[0] == "-m" else (rest[0], with_flagfiles_read(rest[1:]))


@functools.cache
def _faults(program: str) -> dict[str, str | None]:
    """What is wrong with the documents' command lines of an absl program."""
    lines = [line for _, line in _commands() if not _is_not_ours(line) and _program_of(line)[0] == program]
    done = subprocess.run(
        [sys.executable, "-c", PARSE_ALL],
        input=json.dumps([ABSL_PROGRAMS[program], [_program_of(line)[1] for line in lines]]),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(lines, json.loads(done.stdout.splitlines()[-1]), strict=True))


def _is_not_ours(line: str) -> bool:
    return line.startswith(tuple(NOT_OURS))


def _check_make(arguments: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for argument in arguments:
        name, is_setting, _ = argument.partition("=")
        pattern = rf"^{name} \?=" if is_setting else rf"^{name}:"
        assert re.search(pattern, makefile, re.MULTILINE), f"make knows no {name}"


def _check_argparse(program: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the program until it has parsed its arguments."""
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(self: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> None:
        parse(self, *args, **kwargs)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    monkeypatch.syspath_prepend(str((ROOT / program).parent))
    with pytest.raises(Parsed):
        if program.startswith("-m "):
            runpy.run_module(program[3:], run_name="__main__", alter_sys=False)
        else:
            runpy.run_path(str(ROOT / program), run_name="__main__")


def _check_command(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a command of the installed program until it has parsed its arguments."""
    if arguments[0].startswith("-"):
        main(arguments)
        return
    parse = ArgumentParser.parse_args

    def parse_and_stop(self: ArgumentParser, *args: Any, **kwargs: Any) -> None:
        parse(self, *args, **kwargs)
        raise Parsed

    monkeypatch.setattr(ArgumentParser, "parse_args", parse_and_stop)
    with pytest.raises(Parsed):
        main(arguments)


@pytest.mark.parametrize(("document", "line"), _commands())
def test_command_is_taken(document: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if _is_not_ours(line):
        return
    program, arguments = _program_of(line)
    if program in ABSL_PROGRAMS:
        assert _faults(program)[line] is None
    elif program == "make":
        _check_make(arguments)
    elif program == "simclrv2":
        _check_command(arguments, monkeypatch)
    elif program.startswith("docs/examples/"):
        monkeypatch.syspath_prepend(str((ROOT / program).parent))
        example = runpy.run_path(str(ROOT / program), run_name="example")["main"]
        inspect.signature(example).bind(*arguments)
    elif program.startswith(("-m tf_simclrv2.", "benchmarks/")):
        _check_argparse(program, arguments, monkeypatch)
    else:
        pytest.fail(f"{document}: nothing checks {line!r}; say how in this test, or why not in NOT_OURS")


def test_what_make_is_given_reaches_the_program() -> None:
    assert list(_made('make bench BENCHMARK=startup BENCH_ARGS="--rounds=1"')) == [
        "python benchmarks/startup.py --rounds=1"
    ]
    assert list(_made('make learning PEERS="--nonsense"')) == [
        "python benchmarks/learning_with_peers.py --nonsense"
    ]
    assert list(_made('make rehearse RUN="--tpu=v5e-8"')) == ["simclrv2 rehearse --tpu=v5e-8"]


def test_commands_in_sentences() -> None:
    text = "See `benchmarks/memory.py`; `python benchmarks/blur.py` and `benchmarks/blur.py\n--images=2`."
    assert list(_in_sentences(text)) == ["python benchmarks/blur.py", "python benchmarks/blur.py --images=2"]


def test_a_wrong_option_of_a_benchmark_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit):
        _check_argparse("benchmarks/learning_with_peers.py", ["--nonsense"], monkeypatch)


def test_every_reason_is_needed() -> None:
    lines = [line for _, line in _commands()]
    unused = {start for start in NOT_OURS if not any(line.startswith(start) for line in lines)}
    assert not unused


@pytest.mark.parametrize("arguments", [["--no_such_flag=1"], ["--train_epochs=many"], ["word"]])
def test_a_wrong_command_is_refused(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PARSE_ALL],
        input=json.dumps([ABSL_PROGRAMS["run.py"], [arguments, ["--train_epochs=1"]]]),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    wrong, right = json.loads(done.stdout.splitlines()[-1])
    assert wrong and right is None


def _python_blocks() -> list[tuple[str, str]]:
    blocks = r"^```python\n(.*?)^```"
    return [
        (str(path.relative_to(ROOT)), block)
        for path in DOCUMENTS
        for block in re.findall(blocks, path.read_text(), re.MULTILINE | re.DOTALL)
    ]


@pytest.mark.parametrize(("document", "block"), _python_blocks())
def test_what_a_block_imports_is_there(document: str, block: str) -> None:
    imports = [node for node in ast.parse(block).body if isinstance(node, ast.Import | ast.ImportFrom)]
    exec(compile(ast.Module(imports, []), document, "exec"), {})
