"""Flags: the published names and defaults, the recipes, and published commands."""

import dataclasses
import json
import pathlib
import shlex
import subprocess
import sys

import pytest
from absl import flags

from flags import config_from_flags, define_flags, explicit_fields, flag_values, notes_on_flags
from tf_simclrv2 import ConfigError, ExperimentConfig
from tf_simclrv2.config import AREAS
from tf_simclrv2.report.command import command_of
from tf_simclrv2.setting import settings_of

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECIPES = ROOT / "flags" / "recipes"
# Prints the names of the flags that `run.py` defines.
LIST_FLAGS = """
import json
from absl import flags
from flags import define_flags
before = set(flags.FLAGS)
define_flags()
print(json.dumps(sorted(set(flags.FLAGS) - before)))
"""

# The published TF2 program's flags and their defaults.
PUBLISHED = {
    "learning_rate": 0.3,
    "learning_rate_scaling": "linear",
    "warmup_epochs": 10,
    "weight_decay": 1e-6,
    "batch_norm_decay": 0.9,
    "train_batch_size": 512,
    "train_split": "train",
    "train_epochs": 100,
    "train_steps": 0,
    "eval_steps": 0,
    "eval_batch_size": 256,
    "checkpoint_epochs": 1,
    "checkpoint_steps": 0,
    "eval_split": "validation",
    "dataset": "imagenet2012",
    "cache_dataset": False,
    "mode": "train",
    "train_mode": "pretrain",
    "lineareval_while_pretraining": True,
    "checkpoint": None,
    "zero_init_logits_layer": False,
    "fine_tune_after_block": -1,
    "master": None,
    "model_dir": None,
    "data_dir": None,
    "use_tpu": True,
    "tpu_name": None,
    "tpu_zone": None,
    "gcp_project": None,
    "optimizer": "lars",
    "momentum": 0.9,
    "eval_name": None,
    "keep_checkpoint_max": 5,
    "keep_hub_module_max": 1,
    "temperature": 0.1,
    "hidden_norm": True,
    "proj_head_mode": "nonlinear",
    "proj_out_dim": 128,
    "num_proj_layers": 3,
    "ft_proj_selector": 0,
    "global_bn": True,
    "width_multiplier": 1,
    "resnet_depth": 50,
    "sk_ratio": 0.0,
    "se_ratio": 0.0,
    "image_size": 224,
    "color_jitter_strength": 1.0,
    "use_blur": True,
}

PUBLISHED_COMMANDS = [
    "--train_mode=pretrain --train_batch_size=512 --train_epochs=1000 --learning_rate=1.0 "
    "--weight_decay=1e-4 --temperature=0.5 --dataset=cifar10 --image_size=32 --eval_split=test "
    "--resnet_depth=18 --use_blur=False --color_jitter_strength=0.5 --model_dir=/tmp/simclr_test "
    "--use_tpu=False",
    "--mode=train_then_eval --train_mode=finetune --fine_tune_after_block=4 --zero_init_logits_layer=True "
    "--variable_schema='(?!global_step|(?:.*/|^)Momentum|head)' --global_bn=False --optimizer=momentum "
    "--learning_rate=0.1 --weight_decay=0.0 --train_epochs=100 --train_batch_size=512 --warmup_epochs=0 "
    "--dataset=cifar10 --image_size=32 --eval_split=test --resnet_depth=18 --checkpoint=/tmp/simclr_test "
    "--model_dir=/tmp/simclr_test_ft --use_tpu=False",
    "--mode=train_then_eval --train_mode=finetune --fine_tune_after_block=-1 --zero_init_logits_layer=True "
    "--variable_schema='(?!global_step|(?:.*/|^)Momentum|head_supervised)' --global_bn=True --optimizer=lars "
    "--learning_rate=0.005 --learning_rate_scaling=sqrt --weight_decay=0 --train_epochs=60 "
    "--train_batch_size=1024 --warmup_epochs=0 --dataset=imagenet2012_subset/1pct --image_size=224 "
    "--eval_split=validation --checkpoint=gs://checkpoint --model_dir=gs://model --use_tpu=True "
    "--tpu_name=tpu --train_summary_steps=0 --num_proj_layers=3 --ft_proj_selector=1",
    "--mode=train --train_mode=pretrain --train_batch_size=4096 --train_epochs=100 --temperature=0.1 "
    "--learning_rate=0.075 --learning_rate_scaling=sqrt --weight_decay=1e-4 --dataset=imagenet2012 "
    "--image_size=224 --eval_split=validation --data_dir=gs://data --model_dir=gs://model --use_tpu=True "
    "--tpu_name=tpu --train_summary_steps=0",
]


@pytest.fixture(scope="module", autouse=True)
def _defined():
    """Flags can be defined once a process."""
    if "train_mode" not in flags.FLAGS:
        define_flags()


def config_of(*arguments: str) -> ExperimentConfig:
    flags.FLAGS.unparse_flags()
    for name in flag_values_defined():
        flags.FLAGS[name].unparse()
    flags.FLAGS(["run.py", *arguments])
    return config_from_flags()


def flag_values_defined() -> list[str]:
    flags.FLAGS.mark_as_parsed()
    return list(flag_values())


def test_published_flags_and_defaults():
    config_of()
    values = flag_values()
    assert {name: values[name] for name in PUBLISHED} == PUBLISHED


def test_without_flags_the_config_is_the_default_one():
    assert config_of() == ExperimentConfig()


def test_the_default_of_a_flag_is_that_of_its_field():
    config_of()
    for area, config in AREAS.items():
        default = config()
        for name, setting in settings_of(config).items():
            if setting.flag:
                value = flags.FLAGS[setting.flag].default
                assert (tuple(value) if isinstance(value, list) else value) == getattr(default, name)
                assert flags.FLAGS[setting.flag].help.count(setting.help) == 1, f"{area}.{name}"


def test_no_flag_is_written_by_hand_that_a_field_should_make():
    """A new setting is a field of `tf_simclrv2/config.py`; these are the only others of `run.py`."""
    done = subprocess.run(
        [sys.executable, "-c", LIST_FLAGS], cwd=ROOT, capture_output=True, text=True, check=True
    )
    defined = set(json.loads(done.stdout))
    of_fields = {setting.flag for area in AREAS.values() for setting in settings_of(area).values()} - {None}
    assert of_fields <= defined
    assert defined - of_fields == {*("use_tpu", "train_summary_steps"), *("doctor", "trial_steps", "json")}


def test_fields_that_the_user_set_are_known():
    config_of("--eval_protocols=knn", "--train_summary_steps=5", "--seed=0")
    assert explicit_fields() == {"protocols", "seed"}


@pytest.mark.parametrize("command", PUBLISHED_COMMANDS)
def test_published_commands_are_understood(command):
    arguments = shlex.split(command)
    config = config_of(*arguments)
    flat = {}
    for part in dataclasses.asdict(config).values():
        flat |= part
    for argument in arguments:
        name, value = argument.removeprefix("--").split("=", 1)
        if name in flat:
            assert str(flat[name]) == str(type(flat[name])(value) if isinstance(flat[name], float) else value)
    legacy = [name for name in ("train_summary_steps",) if f"--{name}" in command]
    assert [note.split(":")[0] for note in notes_on_flags()] == [f"--{name}" for name in legacy]


def needed_by(recipe: str) -> list[str]:
    """What a recipe's command has to name besides, because it is the user's own."""
    teacher = ["--teacher=runs/teacher"] if "distill" in recipe else []
    return [*teacher, *(["--data_dir=pictures"] if recipe.startswith("own_folder") else [])]


@pytest.mark.parametrize("recipe", sorted(path.name for path in RECIPES.glob("*.cfg")))
def test_the_command_in_a_report_gives_the_same_run(recipe):
    config = config_of(f"--flagfile={RECIPES / recipe}", *needed_by(recipe), "--teacher=a b")
    python, program, *arguments = shlex.split(command_of(config))
    assert (python, program) == ("python", "run.py")
    assert config_of(*arguments) == config


def test_a_tpu_is_not_used_when_told_so():
    assert config_of("--tpu_name=tpu").run.tpu_name == "tpu"
    assert config_of("--tpu_name=tpu", "--use_tpu=False").run.tpu_name is None


def test_older_summary_flag_is_mapped():
    assert config_of("--train_summary_steps=25").run.steps_per_loop == 25
    assert config_of("--train_summary_steps=25", "--steps_per_loop=5").run.steps_per_loop == 5


@pytest.mark.parametrize("schema", ["?!global_step", "head", "(?!global_step)", ""])
def test_any_other_schema_is_refused_rather_than_ignored(schema):
    with pytest.raises(ConfigError, match=r"^variable_schema is .*; weights are matched by name here, so"):
        config_of("--train_mode=finetune", f"--variable_schema={schema}")


def test_impossible_combinations():
    with pytest.raises(ConfigError, match="fine_tune_after_block is 1"):
        config_of("--fine_tune_after_block=1")
    with pytest.raises(ConfigError, match=r"checkpoint is 'runs/a', but .* use --train_mode=finetune"):
        config_of("--train_mode=supervised", "--checkpoint=runs/a")
    for name in ("a/b", "/tmp/a", ".."):
        with pytest.raises(ConfigError, match=f"eval_name is '{name}'"):
            config_of(f"--eval_name={name}")
    for name in ("train", "validation", "best", "saved_model"):
        with pytest.raises(ConfigError, match=f"eval_name is '{name}', a name under which the run itself"):
            config_of(f"--eval_name={name}")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--mode=eval", "--checkpoint=runs/a"], ["checkpoint"]),
        (["--mode=eval", "--checkpoint="], []),
        (["--mode=train", "--checkpoint=runs/a"], []),
        (["--labels_per_class=8", "--teacher=runs/a"], ["teacher", "labels_per_class"]),
        (["--labels_per_class_at_most"], ["labels_per_class_at_most"]),
        (["--train_mode=finetune", "--labeled_split=train[:1%]"], ["labeled_split"]),
        (["--train_mode=finetune", "--distill_alpha=0.5", "--teacher=a"], ["teacher", "distill_alpha"]),
        (
            ["--train_mode=distill", "--teacher=a", "--labels_per_class=8", "--labeled_batch_size=8"],
            ["labeled_batch_size", "labels_per_class"],
        ),
        (["--train_mode=distill", "--teacher=a", "--labels_per_class=8", "--distill_alpha=0.5"], []),
        (["--labels_per_class=8", "--train_mode=finetune"], []),
        (["--validation_split=train[90%:]"], ["validation_split"]),
        (["--temperature=0.5", "--use_blur=false", "--memory_decay=0.9"], []),
        (["--train_mode=finetune", "--use_blur=false", "--memory_decay=0.9"], ["memory_decay", "use_blur"]),
        (["--train_mode=distill", "--teacher=a", "--temperature=0.5"], ["temperature"]),
        (["--validation_split=train[90%:]", "--keep_best=knn"], []),
    ],
)
def test_a_flag_that_does_nothing_is_named(words, named):
    config_of(*words)
    assert [note.partition(":")[0] for note in notes_on_flags()] == [f"--{name}" for name in named]


@pytest.mark.parametrize("recipe", sorted(path.name for path in RECIPES.glob("*.cfg")))
def test_recipes_parse_and_open_with_their_command(recipe):
    text = (RECIPES / recipe).read_text()
    assert text.startswith("# ")
    assert f"--flagfile=flags/recipes/{recipe}" in text
    config = config_of(f"--flagfile={RECIPES / recipe}", *needed_by(recipe))
    asked = [line for line in text.splitlines() if line.startswith("--")]
    assert len(asked) > 5
    assert config != ExperimentConfig()


def test_paper_recipe():
    """SimCLRv2 appendix: batch 4096, rate 0.1·√4096 = 6.4, 5 % of 800 epochs of warm-up."""
    config = config_of(f"--flagfile={RECIPES / 'imagenet_pretrain_paper.cfg'}")
    assert config.training.train_batch_size == 4096 and config.training.train_epochs == 800
    assert config.optimizer.learning_rate * 4096**0.5 == pytest.approx(6.4)
    assert config.optimizer.learning_rate_scaling == "sqrt"
    assert config.optimizer.warmup_epochs == 40 and config.optimizer.weight_decay == 1e-4
    assert config.model.num_proj_layers == 3 and config.objective.temperature == 0.1


def test_a_tilde_is_the_home_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = config_of("--model_dir=~/runs/a", "--checkpoint=~/b", "--dataset=image_folder", "--data_dir=~/c")
    found = (config.run.model_dir, config.run.checkpoint, config.data.data_dir)
    assert found == (f"{tmp_path}/runs/a", f"{tmp_path}/b", f"{tmp_path}/c")
    assert config_of("--model_dir=gs://bucket/~/a").run.model_dir == "gs://bucket/~/a"
