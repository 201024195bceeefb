"""What a job says before it begins: what was found, what was chosen, and the commands that follow."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from tf_simclrv2.auto.commands import (
    BASE_RATE,
    CHOOSE,
    LABELED,
    LEARN,
    TEST,
    Choices,
    Commands,
    Stage,
)
from tf_simclrv2.auto.pictures import Pictures
from tf_simclrv2.auto.schedule import Labels, Schedule
from tf_simclrv2.data.some_names import some_names


def found_lines(
    pictures: Pictures, choices: Choices, budget: str, folder: str, flags: Sequence[str] = ()
) -> list[str]:
    """Returns what was found and chosen.

    Args:
        pictures: Of the job.
        choices: Its settings.
        budget: As it was typed.
        folder: Of the job.
        flags: Further flags of every training.
    """
    batch = choices.batch_size
    return [
        f"pictures: {pictures.summary}; the shorter side has {pictures.median_side:.0f} pixels",
        f"labels: {'; '.join((_labels(pictures), *pictures.notes))}",
        f"network: ResNet-{choices.depth} at {choices.image_size} pixels, {choices.precision}, batch "
        f"{batch}, learning rate {choices.learning_rate:.3g} ({BASE_RATE}·√{batch}), {choices.epochs} epochs "
        f"of pretraining; {budget} for all, in {folder}",
        *([f"your flags, which overrule these: {shlex.join(flags)}"] if flags else []),
    ]


def _labels(pictures: Pictures) -> str:
    if not pictures.labeled:
        return "none, so the result is an encoder"
    words = f"{pictures.label_count:,} labels in {len(pictures.labeled)} classes"
    missing = pictures.unlabeled_classes
    return f"{words}, none yet of {some_names(missing)}, so nothing is compared" if missing else words


def planned_lines(commands: Commands, plan: Schedule, labels: Labels, pretraining: Stage) -> list[str]:
    """Returns the commands that will be typed if all takes as long as estimated, one a line.

    What depends on a result that is not there yet is said in a comment behind the command.

    Args:
        commands: Of the job.
        plan: The stages that fit.
        labels: Of the job.
        pretraining: The first stage.
    """
    stages = [(pretraining, "")]
    if labels.count:
        stages += _stages_with_labels(commands, plan, labels)
    last, _ = stages[-1]
    judged = labels.compare and last.name == "distilled"
    stages.append((commands.export(last.name), "or finetuned" if judged else ""))
    return [f"{stage.text}{f'  # {note}' if note else ''}" for stage, note in stages]


def _stages_with_labels(commands: Commands, plan: Schedule, labels: Labels) -> list[tuple[Stage, str]]:
    test, first, best = TEST if labels.tested else None, plan.layers[0], ""
    stages: list[tuple[Stage, str]] = []
    if plan.measures:
        tried = (commands.finetune(f"layer_{i}", i, labels.learn, LEARN, CHOOSE) for i in plan.layers)
        stages += [(stage, "") for stage in tried]
    if len(plan.layers) > 1:
        best = f"layer {first} stands for the best of {', '.join(map(str, plan.layers))}"
    stages.append((commands.finetune("finetuned", first, labels.count, LABELED, test), best))
    if plan.distills and labels.compare:
        stages.append((commands.distill("student", f"layer_{first}", first, LEARN, CHOOSE), best))
    if plan.distills:
        pays = "if the student is no worse than its teacher" if labels.compare else ""
        note = "; ".join(filter(None, (best, pays)))
        stages.append((commands.distill("distilled", "finetuned", first, LABELED, test), note))
    return stages
