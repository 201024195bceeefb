"""The stages of the method, each a `keras.Model` whose `train_step` is the step."""

from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.errors import ConfigError
from tf_simclrv2.tasks.distillation import Distillation, Teacher
from tf_simclrv2.tasks.finetuning import FineTuning
from tf_simclrv2.tasks.pretraining import Pretraining
from tf_simclrv2.tasks.task import Task


def build_task(config: ExperimentConfig, teacher: Teacher | None = None) -> Task:
    """Creates the task of `config.training.train_mode`.

    Args:
        config: The configuration of the run.
        teacher: Maps images to logits; needed for distillation only.

    Raises:
        ConfigError: The mode is `distill` and there is no teacher.
    """
    mode = config.training.train_mode
    if mode == "pretrain":
        return Pretraining(config)
    if mode != "distill":
        return FineTuning(config)  # The supervised baseline is the same, from random weights.
    if teacher is None:
        raise ConfigError("train_mode is 'distill', but there is no teacher; pass one as `teacher`.")
    return Distillation(config, teacher)


__all__ = ["Distillation", "FineTuning", "Pretraining", "Task", "Teacher", "build_task"]
