"""Answers to a flag that does not exist: the right name, in one sentence."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NoReturn

from tf_simclrv2.setting import Setting, settings_of

# Names that other programs have for our flags, and ours: the first that the program in question has, where
# "/" stands between several that are named together.
_SYNONYMS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("lr", "base_lr", "rate", "step_size"): ("learning_rate",),
    ("epochs", "epoch", "num_epochs", "n_epochs", "max_epochs", "nb_epochs"): ("train_epochs",),
    ("steps", "num_steps", "max_steps", "iterations", "iters"): ("train_steps", "trial_steps"),
    ("batch_size", "batchsize", "bs", "batch", "b"): ("train_batch_size/eval_batch_size",),
    ("data", "data_path", "data_root", "dataset_dir", "dataset_path", "root", "images", "folder", "dir"): (
        "data_dir/dataset",
    ),
    ("train_dir", "train_data", "path"): ("data_dir/train_split",),
    ("val_split", "test_split", "validation_split", "val", "valid"): ("eval_split",),
    ("split",): ("train_split/eval_split",),
    ("output_dir", "out_dir", "outdir", "out", "o", "save_dir", "log_dir", "logdir", "work_dir", "exp_dir"): (
        "output",
        "model_dir",
    ),
    ("output", "destination", "dest", "save", "run", "run_dir", "job_dir"): ("output", "model_dir"),
    ("model", "network", "net", "encoder"): ("resnet_depth/model_dir", "model_dir", "input"),
    ("arch", "architecture", "backbone", "depth", "layers"): ("resnet_depth",),
    ("width",): ("width_multiplier",),
    ("weights", "ckpt", "pretrained", "init_checkpoint", "load", "checkpoint_path", "source", "in", "i"): (
        "checkpoint",
        "model_dir",
        "input",
    ),
    ("input", "checkpoint", "checkpoint_dir", "ckpt_dir", "model_dir"): ("checkpoint", "model_dir", "input"),
    ("teacher_checkpoint", "teacher_dir", "teacher_model"): ("teacher",),
    ("size", "img_size", "imsize", "resolution", "input_size", "crop_size"): ("image_size",),
    ("wd", "decay", "l2"): ("weight_decay",),
    ("tau", "temp", "t"): ("temperature",),
    ("warmup", "warm_up", "warmup_steps"): ("warmup_epochs",),
    ("amp", "fp16", "bf16", "dtype", "half", "mixed_precision"): ("precision",),
    ("stage", "task", "method"): ("train_mode",),
    ("opt", "optim"): ("optimizer",),
    ("config", "cfg", "conf", "recipe", "flags"): ("flagfile",),
    ("random_seed", "rng"): ("seed",),
    ("labels", "num_labels", "labeled", "fraction"): ("labels_per_class/label_fraction",),
    ("blur", "gaussian_blur"): ("use_blur",),
    ("jitter", "color_jitter", "color"): ("color_jitter_strength",),
    ("flip", "hflip"): ("random_flip",),
    ("save_freq", "save_every", "save_steps", "checkpoint_every"): ("checkpoint_epochs/checkpoint_steps",),
    ("queue", "queue_size", "moco_k", "memory", "bank"): ("memory_size",),
    ("ema", "ema_decay", "moco_m"): ("memory_decay",),
    ("proj_dim", "projection_dim", "out_dim"): ("proj_out_dim",),
    ("accumulate", "gradient_accumulation", "accum_steps", "grad_accum"): ("microbatch_size",),
    ("force", "f", "replace"): ("overwrite",),
    ("type", "to", "fmt"): ("format",),
    ("layer", "cut"): ("endpoint",),
    ("probe", "knn", "linear"): ("eval_protocols",),
    ("distribute", "distribution", "distributed"): ("strategy",),
}
# What is not a matter of another name.
_ADVICE = {
    ("resume", "restore", "auto_resume"): "a run resumes automatically when the same command is repeated",
    ("workers", "num_workers", "threads", "jobs", "j"): "images are always decoded on all cores",
    ("gpus", "gpu", "device", "devices", "num_gpus", "cuda"): (
        "a run uses all GPUs that it finds, and CUDA_VISIBLE_DEVICES selects them"
    ),
    ("evaluate", "eval_only", "test", "eval"): "use --mode=eval",
    ("train",): "use --mode=train",
    ("pretrain", "finetune", "supervised", "distill"): "use --train_mode",
    ("export",): "python -m export, or simclrv2 export, exports a trained network",
    ("verbose", "v", "quiet", "q", "debug"): "set TF_CPP_MIN_LOG_LEVEL=0 to see what TensorFlow logs",
}


def unknown_flag(typed: str, known: Collection[str], advice: Mapping[str, str] | None = None) -> str:
    """Answers a flag that a program does not have.

    Args:
        typed: What was typed, without dashes in front and without a value.
        known: Names of the program's flags.
        advice: Answers of this program alone, by what was typed.

    Returns:
        A sentence with the right name, if it can be guessed.

    Example:
        >>> unknown_flag("lr", {"learning_rate", "seed"})
        '--lr is not a flag; use --learning_rate.'
    """
    dashes = "-" if len(typed) == 1 else "--"
    name = typed.replace("-", "_").lower()
    return f"{dashes}{typed} is not a flag; {_cure(name, known, advice or {})}."


def _cure(name: str, known: Collection[str], advice: Mapping[str, str]) -> str:
    if name in advice:
        return advice[name]
    if names := _negated_names(name, known) or _right_names(name, known):
        return f"use --{' or --'.join(names)}"
    general = [text for names, text in _ADVICE.items() if name in names and "mode" in known]
    return general[0] if general else "--help lists the flags"


def _negated_names(name: str, known: Collection[str]) -> list[str]:
    """The flags that turn off what a name with `no` in front stands for: `no_blur` is `nouse_blur`."""
    if not name.startswith("no"):
        return []
    positive = _right_names(name.removeprefix("no").lstrip("_"), known)
    return [f"no{flag}" for flag in positive if f"no{flag}" in known]


def _right_names(name: str, known: Collection[str]) -> list[str]:
    if name in known:
        return [name]
    for names, alternatives in _SYNONYMS.items():
        fitting = [flags.split("/") for flags in alternatives if set(flags.split("/")) <= set(known)]
        if name in names and fitting:
            return fitting[0]
    return difflib.get_close_matches(name, known, 1, 0.75)


class ArgumentParser(argparse.ArgumentParser):
    """Python's parser, whose errors are one sentence.

    Its help names the program as it was started, for `simclrv2 report` is `python -m tf_simclrv2.report` too.

    Args:
        advice: Answers to flags that do not exist, by name; see `unknown_flag`.
    """

    def __init__(self, *, advice: Mapping[str, str] | None = None, **options: Any) -> None:
        if sys.argv[0].startswith("simclrv2 "):
            options["prog"] = sys.argv[0]
        super().__init__(**options)
        self._advice = advice

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        words = sys.argv[1:] if args is None else list(args)
        known = [option for action in self._actions for option in action.option_strings]
        for word in words[: words.index("--")] if "--" in words else words:
            flag = word.split("=")[0]
            # Python's parser takes a flag's beginning for the flag.
            if flag.startswith("-") and not any(option.startswith(flag) for option in known):
                self.error(unknown_flag(flag.lstrip("-"), [name.lstrip("-") for name in known], self._advice))
        return super().parse_args(words, namespace)

    def add_settings(self, config: type, **metavars: str) -> None:
        """Adds an option for each setting that has a flag, and a positional argument for each that has none.

        Args:
            config: A config dataclass.
            **metavars: What stands for the value of a setting in the help, by its name. A setting without a
                flag and without a metavar is left out.
        """
        for name, setting in settings_of(config).items():
            metavar = metavars.get(name)
            if setting.flag:
                self._add_option(setting, metavar)
            elif metavar:
                several: dict[str, Any] = {"nargs": "+"} if setting.kind is tuple else {}
                self.add_argument(name, metavar=metavar, help=_escaped(setting.text), **several)

    def _add_option(self, setting: Setting, metavar: str | None) -> None:
        shown = setting.text
        if setting.kind is bool:
            option: dict[str, Any] = {"action": "store_true"}
        elif setting.kind is tuple:
            option = {"action": "append", "default": [], "metavar": metavar}
        elif setting.is_required:
            option = {"required": True, "type": setting.kind, "metavar": metavar}
            shown += " Required."
        else:
            option = {"default": setting.default, "type": setting.kind, "metavar": metavar}
            shown += "" if setting.default is None else f" [{setting.default}]"
        self.add_argument(f"--{setting.flag}", dest=setting.name, help=_escaped(shown), **option)

    def error(self, message: str) -> NoReturn:
        """Ends the program with code 2."""
        self.exit(2, f"error: {message}\n")


def settings_in(arguments: argparse.Namespace, config: type) -> dict[str, Any]:
    """Returns what parsed arguments say of the settings of a config, by the names of its fields."""
    given = {name: getattr(arguments, name) for name in settings_of(config) if hasattr(arguments, name)}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


def _escaped(text: str) -> str:
    """A help as Python's parser takes it."""
    return text.replace("%", "%%")
