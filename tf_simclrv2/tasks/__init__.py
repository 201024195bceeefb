"""The stages of the method, each a `keras.Model` whose `train_step` is the step."""

from tf_simclrv2.config import ExperimentConfig
from tf_simclrv2.tasks.finetuning import FineTuning
from tf_simclrv2.tasks.pretraining import Pretraining
from tf_simclrv2.tasks.task import Task

TASKS: dict[str, type[Task]] = {"pretrain": Pretraining, "finetune": FineTuning}


def build_task(config: ExperimentConfig) -> Task:
    """The task of `config.training.train_mode`."""
    return TASKS[config.training.train_mode](config)


__all__ = ["FineTuning", "Pretraining", "Task", "build_task"]
