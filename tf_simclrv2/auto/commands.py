"""The commands that a job consists of, as a person would type them."""

from __future__ import annotations

import dataclasses
import math
import os
import shlex

from tf_simclrv2.auto.choices import augmentation, contrast

# The splits in OUTPUT/data: all pictures; some with a label to choose by; those held back.
PICTURES, CHOOSE, TEST = "pictures", "choose", "test"
# The files of labels there: of all pictures but those to choose by, and of all.
LEARN, LABELED = "learn.csv", "labeled.csv"
DATA, PRETRAINED, MODEL = "data", "pretrained", "model"
# Images per step of fine-tuning and of distillation, at most, and steps of fine-tuning, at least.
_LABEL_BATCH, _DISTILL_BATCH = 64, 64
_FEWEST_STEPS, _EPOCHS = 200, (20, 100)
# Head layers of the network, and epochs of a student that starts from the pretrained network.
HEAD_LAYERS, DISTILL_EPOCHS = 3, 12
# Learning rate of distillation for 256 images per step, scaled with the batch size: the digits recipe's.
# With a quarter of it, students were 0.5 points worse on pictures that they had seen without a label, and
# no different on others.
DISTILL_RATE = 4.0
# Learning rate of pretraining, to be multiplied by the square root of the batch size.
BASE_RATE = 0.075


@dataclasses.dataclass(frozen=True)
class Stage:
    """A command, and the directory that it makes.

    Attributes:
        name: The directory in OUTPUT.
        words: What follows `simclrv2`.
    """

    name: str
    words: tuple[str, ...]

    @property
    def text(self) -> str:
        """The command as it can be pasted into a shell."""
        return shlex.join(("simclrv2", *self.words))


@dataclasses.dataclass(frozen=True)
class Choices:
    """The settings of a job that were chosen for its pictures, the machine and the budget.

    Attributes:
        image_size: Pixels of the side.
        depth: Layers of the ResNet.
        batch_size: Images per step of pretraining.
        precision: Keras dtype policy.
        epochs: Of pretraining.
    """

    image_size: int
    depth: int
    batch_size: int
    precision: str
    epochs: int

    @property
    def learning_rate(self) -> float:
        """Of pretraining."""
        return BASE_RATE * math.sqrt(self.batch_size)


def label_batch(labels: int) -> int:
    """Returns the images per step of fine-tuning: half of a small set, so that an epoch has two steps."""
    return max(1, min(_LABEL_BATCH, labels // 2))


def label_epochs(labels: int) -> int:
    """Returns the epochs of fine-tuning, which come to a few hundred steps where labels are few."""
    fewest, most = _EPOCHS
    return max(fewest, min(most, math.ceil(_FEWEST_STEPS * label_batch(labels) / max(labels, 1))))


class Commands:
    """Writes the commands of a job.

    Args:
        output: The folder of the job.
        choices: Its settings.
        flags: Further flags of every training, such as `--random_flip=false`.
    """

    def __init__(self, output: str, choices: Choices, flags: tuple[str, ...] = ()) -> None:
        self._output = output
        self._choices = choices
        self._flags = flags

    def path(self, name: str) -> str:
        """Returns the directory of a stage."""
        return os.path.join(self._output, name)

    def trial(self, json_file: str, steps: int) -> Stage:
        """Measures the step of pretraining."""
        own = {"train_epochs": 1, "trial_steps": steps, "json": json_file}
        return self._run(
            "trial", "pretrain", {**self._pretraining, **own}, extra=("--doctor",), directory=False
        )

    def pretrain(self, labels_file: str = LABELED, eval_split: str | None = None) -> Stage:
        """Pretrains on all pictures; labels serve the evaluation at the end, if there is a split for it."""
        own = {
            "train_epochs": self._choices.epochs,
            "lineareval_while_pretraining": "false",
            **self._evaluated(eval_split),
        }
        if eval_split is not None:
            own |= {"eval_protocols": "linear,knn", "labels_from": self._labels(labels_file)}
        return self._run(PRETRAINED, "pretrain", {**self._pretraining, **own})

    def finetune(self, name: str, layer: int, labels: int, labels_file: str, eval_split: str | None) -> Stage:
        """Fine-tunes from a layer of the projection head, on the `labels` pictures of a file of labels."""
        epochs = label_epochs(labels)
        settings = {
            "checkpoint": self.path(PRETRAINED),
            "ft_proj_selector": layer,
            "train_split": PICTURES,
            "labels_from": self._labels(labels_file),
            "train_batch_size": label_batch(labels),
            "train_epochs": epochs,
            "checkpoint_epochs": epochs,
            "learning_rate": 0.3,
            "warmup_epochs": 0,
            "weight_decay": 0,
            **self._evaluated(eval_split),
        }
        return self._run(name, "finetune", settings)

    def distill(self, name: str, teacher: str, layer: int, labels_file: str, eval_split: str | None) -> Stage:
        """Distills a network that was fine-tuned from a layer, on all pictures; a file names its classes.

        The student is the same network, as in the paper's self-distillation, and starts from the pretrained
        one.
        """
        settings = {
            "teacher": self.path(teacher),
            "checkpoint": self.path(PRETRAINED),
            "ft_proj_selector": layer,
            "train_split": PICTURES,
            "labels_from": self._labels(labels_file),
            "train_batch_size": min(_DISTILL_BATCH, self._choices.batch_size),
            "train_epochs": DISTILL_EPOCHS,
            "checkpoint_epochs": DISTILL_EPOCHS,
            "learning_rate": DISTILL_RATE,
            "warmup_epochs": 1,
            "weight_decay": 1e-4,
            **self._evaluated(eval_split),
        }
        return self._run(name, "distill", settings)

    def export(self, run: str) -> Stage:
        """Writes the SavedModel that is served."""
        words = ("export", f"--model_dir={self.path(run)}", f"--output={self.path(MODEL)}", "--overwrite")
        return Stage(MODEL, words)

    @property
    def _pretraining(self) -> dict[str, object]:
        choices = self._choices
        return {
            "train_split": PICTURES,
            "num_proj_layers": HEAD_LAYERS,
            "train_batch_size": choices.batch_size,
            "learning_rate": BASE_RATE,
            "learning_rate_scaling": "sqrt",
            "weight_decay": 1e-4,
            **contrast(choices.image_size),
            "warmup_epochs": max(1, min(10, choices.epochs // 20)),
            "checkpoint_epochs": max(1, choices.epochs // 10),
            "keep_checkpoint_max": 1,
        }

    def _labels(self, file: str) -> str:
        return os.path.join(self.path(DATA), file)

    def _evaluated(self, split: str | None) -> dict[str, object]:
        return {"mode": "train"} if split is None else {"mode": "train_then_eval", "eval_split": split}

    def _run(
        self,
        name: str,
        train_mode: str,
        settings: dict[str, object],
        extra: tuple[str, ...] = (),
        directory: bool = True,
    ) -> Stage:
        choices = self._choices
        common = {
            "train_mode": train_mode,
            "dataset": "image_folder",
            "data_dir": self.path(DATA),
            "image_size": choices.image_size,
            "resnet_depth": choices.depth,
            "precision": choices.precision,
            "keep_hub_module_max": 0,
        }
        flags = {**common, **settings, **augmentation(choices.image_size)}
        if directory:
            flags["model_dir"] = self.path(name)
        words = ("run", *extra, *(f"--{flag}={value}" for flag, value in flags.items()), *self._flags)
        return Stage(name, words)
