"""A flag that does not exist is answered with the right name, in one sentence."""

from __future__ import annotations

import pytest

from tf_simclrv2.command_line import ArgumentParser, unknown_flag
from tf_simclrv2.config import AREAS
from tf_simclrv2.setting import settings_of

RUN = {setting.flag for area in AREAS.values() for setting in settings_of(area).values() if setting.flag} | {
    "flagfile"
}
EXPORT = {"model_dir", "output", "format", "api", "endpoint", "name", "version", "overwrite"}
CONVERT = {"input", "output", "format", "overwrite"}


@pytest.mark.parametrize(
    ("typed", "cure"),
    [
        ("lr", "use --learning_rate"),
        ("learning-rate", "use --learning_rate"),
        ("epochs", "use --train_epochs"),
        ("batch_size", "use --train_batch_size or --eval_batch_size"),
        ("batch-size", "use --train_batch_size or --eval_batch_size"),
        ("data", "use --data_dir or --dataset"),
        ("output_dir", "use --model_dir"),
        ("output", "use --model_dir"),
        ("model", "use --resnet_depth or --model_dir"),
        ("arch", "use --resnet_depth"),
        ("weights", "use --checkpoint"),
        ("img-size", "use --image_size"),
        ("recipe", "use --flagfile"),
        ("temprature", "use --temperature"),
        ("train_batchsize", "use --train_batch_size"),
        ("resume", "a run resumes automatically when the same command is repeated"),
        ("xyzzy", "--help lists the flags"),
    ],
)
def test_flags_of_a_run(typed, cure):
    assert unknown_flag(typed, RUN) == f"--{typed} is not a flag; {cure}."


@pytest.mark.parametrize(
    ("typed", "known", "right"),
    [
        ("checkpoint", EXPORT, "model_dir"),
        ("input", EXPORT, "model_dir"),
        ("output_dir", EXPORT, "output"),
        ("model_dir", CONVERT, "input"),
        ("checkpoint", CONVERT, "input"),
        ("force", CONVERT, "overwrite"),
    ],
)
def test_flags_of_the_other_programs(typed, known, right):
    assert unknown_flag(typed, known) == f"--{typed} is not a flag; use --{right}."


def test_a_single_letter_has_a_single_dash():
    assert unknown_flag("b", RUN).startswith("-b is not a flag; use --train_batch_size")


def test_pythons_parser_says_one_sentence(capsys):
    parser = ArgumentParser(prog="report", advice={"model_dir": "name the directory alone"})
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--output")
    assert parser.parse_args(["a", "--out=b"]).output == "b", "a beginning is enough for Python's parser"
    assert parser.parse_args(["--", "--odd-name"]).runs == ["--odd-name"]
    for words, sentence in {
        ("--model_dir=a",): "--model_dir is not a flag; name the directory alone.",
        ("a", "--destination=b"): "--destination is not a flag; use --output.",
        (): "the following arguments are required: runs",
    }.items():
        with pytest.raises(SystemExit) as stop:
            parser.parse_args(list(words))
        assert stop.value.code == 2
        assert capsys.readouterr().err == f"error: {sentence}\n"
