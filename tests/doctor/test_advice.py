"""Each rule speaks where a setting is unwise, and is silent about the paper's settings."""

import dataclasses
from typing import Any

import pytest
import tensorflow as tf

from tf_simclrv2 import (
    DataConfig,
    ExperimentConfig,
    ModelConfig,
    ObjectiveConfig,
    OptimizerConfig,
    RunConfig,
    TrainingConfig,
)
from tf_simclrv2.config import DistillationConfig
from tf_simclrv2.data import Source
from tf_simclrv2.doctor import advice
from tf_simclrv2.doctor.advice import RULES, Case, Rule, advise
from tf_simclrv2.doctor.image_sample import ImageSample
from tf_simclrv2.doctor.machine import Machine
from tf_simclrv2.doctor.trial import Trial
from tf_simclrv2.optimization.schedules import WarmupCosine
from tf_simclrv2.training.plan import RunPlan

PHOTOS = ImageSample(count=32, unreadable=0, constant=0, brightest=1.0, median_side=375.0)
TRIAL = Trial(
    steps=18, first_step_s=9.0, step_s=1.0, data_wait=0.01, examples_per_second=4096.0, peak_mb=1e3, loss=9.0
)
# SimCLRv2 section 3 and appendix: LARS at 0.1 · √4096 = 6.4, warm-up of 5 %, τ = 0.1, a memory of 64K.
PAPER = ExperimentConfig(
    objective=ObjectiveConfig(memory_size=65536),
    optimizer=OptimizerConfig(
        learning_rate=0.1, learning_rate_scaling="sqrt", warmup_epochs=40, weight_decay=1e-4
    ),
    training=TrainingConfig(train_batch_size=4096, train_epochs=800, precision="mixed_bfloat16"),
    run=RunConfig(mode="train_then_eval"),
)


def machine_of(bfloat16: float = 2.0, memory_mb: float = 64_000, devices: tuple[str, ...] = ()) -> Machine:
    speeds = {"float32": 100.0, "bfloat16": 100.0 * bfloat16}
    return Machine(devices, 8, memory_mb, memory_mb, speeds, speeds)


H100 = machine_of(1.1, devices=("/device:GPU:0",))
CARD = dataclasses.replace(H100, card_mb=81_559.0)
V100 = dataclasses.replace(H100, compute_capability=(7, 0))


def source_of(images: int, classes: int, name: str = "photos/train") -> Source:
    names = tuple(map(str, range(classes)))
    return Source(name, images, names, tf.data.Dataset.range(0), lambda record: tf.constant(b""), light=True)


def case_of(
    config: ExperimentConfig = PAPER,
    count: int = 1_281_167,
    classes: int = 1000,
    eval_classes: int | None = None,
    interval: int = 312,
    **seen: Any,
) -> Case:
    eval_source = source_of(50_000, classes if eval_classes is None else eval_classes, "photos/validation")
    schedule = WarmupCosine.from_config_values(config.optimizer, config.training, count)
    train = source_of(count, classes)
    plan = RunPlan(config, train, None, eval_source, schedule.total_steps, interval, schedule, ())
    given: dict[str, Any] = {
        "machine": machine_of(),
        "images": PHOTOS,
        "memory_mb": 4000.0,
        "trial": TRIAL,
    }
    return Case(plan, **(given | seen))


def changed(part: str, **values: Any) -> ExperimentConfig:
    """The paper's run with a few values of one of its parts replaced."""
    return dataclasses.replace(PAPER, **{part: dataclasses.replace(getattr(PAPER, part), **values)})


NO_MEMORY = changed("objective", memory_size=0)
LINEAR = changed("optimizer", learning_rate=0.3, learning_rate_scaling="linear")
NO_BLUR = dataclasses.replace(PAPER, data=DataConfig(use_blur=False))


def at_32_px(config: ExperimentConfig) -> ExperimentConfig:
    return dataclasses.replace(config, model=ModelConfig(image_size=32))


def of_batch(size: int, config: ExperimentConfig = NO_MEMORY) -> ExperimentConfig:
    return dataclasses.replace(config, training=dataclasses.replace(config.training, train_batch_size=size))


def stage(train_mode: str, batch: int = 64, **run: Any) -> ExperimentConfig:
    training = TrainingConfig(train_mode=train_mode, train_batch_size=batch, precision="mixed_bfloat16")
    return dataclasses.replace(NO_MEMORY, training=training, run=RunConfig(mode="train_then_eval", **run))


def distilling(labeled_batch: int, labels: int = 70) -> Case:
    """Distillation with that many labeled images, and so many of them a step."""
    distillation = DistillationConfig("teacher", distill_alpha=0.5, labeled_batch_size=labeled_batch)
    training = TrainingConfig(train_mode="distill", train_batch_size=64)
    case = case_of(dataclasses.replace(NO_MEMORY, training=training, distillation=distillation))
    plan = dataclasses.replace(case.plan, labeled_source=source_of(labels, 10, "few/train"))
    return dataclasses.replace(case, plan=plan)


def images(**values: Any) -> ImageSample:
    return dataclasses.replace(PHOTOS, **values)


def trial(**values: Any) -> Trial:
    return dataclasses.replace(TRIAL, **values)


# For each rule: an unwise case, words of what is said of it, and a case beside it that is well.
CASES: list[tuple[Rule, Case, str, Case]] = [
    (
        advice.learning_rate_far_from_the_papers,
        case_of(changed("optimizer", learning_rate=0.3)),
        "its peak is 19.2, far above what the papers use for a batch of 4096 (4.8 to 6.4)",
        case_of(changed("optimizer", learning_rate=0.2)),
    ),
    (
        advice.learning_rate_far_from_the_papers,
        case_of(changed("optimizer", learning_rate=0.02)),
        "far below",
        case_of(changed("optimizer", learning_rate=0.04)),
    ),
    (
        advice.small_batch_under_linear_scaling,
        case_of(of_batch(64, changed("optimizer", learning_rate=0.3, learning_rate_scaling="linear"))),
        "linear scaling gives 0.075 for a batch of 64, and the papers' square-root scaling 0.6",
        case_of(of_batch(512, changed("optimizer", learning_rate=0.3, learning_rate_scaling="linear"))),
    ),
    (
        advice.rate_of_another_optimizer,
        case_of(changed("optimizer", optimizer="adam")),
        "6.4 suits LARS",
        case_of(changed("optimizer", optimizer="adam", learning_rate=1e-5)),
    ),
    (
        advice.few_steps_of_warmup,
        case_of(changed("optimizer", warmup_epochs=0)),
        "0 steps are few for a rate of 6.4",
        case_of(changed("optimizer", warmup_epochs=1)),
    ),
    (
        advice.warmup_takes_the_run,
        case_of(changed("training", train_epochs=60)),
        "12,511 of 18,768 steps",
        case_of(changed("training", train_epochs=100)),
    ),
    (advice.blur_on_small_images, case_of(at_32_px(PAPER)), "at 32 px", case_of(at_32_px(NO_BLUR))),
    (advice.images_of_one_color, case_of(images=images(constant=3)), "3 of 32", case_of()),
    (
        advice.images_nearly_black,
        case_of(images=images(brightest=0.0625)),
        "is 0.062 of 1",
        case_of(images=images(brightest=0.5)),
    ),
    (
        advice.images_unreadable,
        case_of(images=images(unreadable=2, names=("torn.png", "b.png"))),
        "2 of 34 that were examined cannot be read and will be skipped (torn.png, b.png)",
        case_of(),
    ),
    (
        advice.images_transparent,
        case_of(images=images(transparent=30)),
        "30 of 32 that were examined are transparent and are composited onto white",
        case_of(),
    ),
    (
        advice.images_enlarged,
        case_of(images=images(median_side=32.0)),
        "are 32 px and would be enlarged to 224, which costs 49 times as much",
        case_of(images=images(median_side=128.0)),
    ),
    (
        advice.evaluation_without_labels,
        case_of(eval_classes=0),
        "photos/validation has none",
        case_of(dataclasses.replace(PAPER, run=RunConfig(mode="train")), eval_classes=0),
    ),
    (
        advice.batch_larger_than_dataset,
        case_of(stage("supervised", batch=512), count=100),
        "512 images per step, but photos/train has 100",
        case_of(stage("supervised", batch=100), count=100),
    ),
    (
        advice.labeled_batch_larger_than_labels,
        distilling(labeled_batch=128),
        "128 images per step, but few/train has 70, so some count twice; use --labeled_batch_size=70",
        distilling(labeled_batch=0),
    ),
    (
        advice.few_negatives,
        case_of(of_batch(32)),
        "32 images give 62 negatives",
        case_of(of_batch(32, PAPER)),
    ),
    (
        advice.memory_of_few_batches,
        case_of(changed("objective", memory_size=16384)),
        "16,384 keys are 2.0 batches",
        case_of(),
    ),
    (advice.memory_larger_than_dataset, case_of(count=10_000), "of 10,000 images", case_of(count=50_000)),
    (
        advice.unusual_temperature,
        case_of(changed("objective", temperature=2.0)),
        "2 is outside",
        case_of(changed("objective", temperature=0.5)),
    ),
    (
        advice.small_parts_for_batch_norm,
        case_of(changed("training", microbatch_size=8)),
        "of only 8 images",
        case_of(changed("training", microbatch_size=64)),
    ),
    (
        advice.fine_tuning_from_nothing,
        case_of(stage("finetune")),
        "random weights",
        case_of(stage("finetune", checkpoint="runs/pretrained")),
    ),
    (
        advice.half_precision_left_out_on_a_gpu,
        case_of(changed("training", precision="float32"), machine=H100),
        "takes twice the memory; pass --precision=mixed_bfloat16",
        case_of(machine=H100),
    ),
    (
        advice.half_precision_left_out_on_a_gpu,
        case_of(changed("training", precision="float32"), machine=V100),
        "--precision=mixed_float16",
        case_of(changed("training", precision="float32")),
    ),
    (advice.precision_slow_here, case_of(machine=machine_of(0.3)), "0.30 times", case_of()),
    (
        advice.precision_slow_here,
        case_of(changed("training", precision="float32")),
        "2.0 times as fast as in float32 on this machine; try --precision=mixed_bfloat16",
        case_of(changed("training", precision="float32"), machine=machine_of(1.1)),
    ),
    (
        advice.precision_slow_here,
        case_of(changed("training", precision="mixed_float16")),
        "float16 is for GPUs",
        case_of(changed("training", precision="mixed_float16"), machine=machine_of(devices=("/GPU:0",))),
    ),
    (
        advice.precision_slow_here,
        case_of(changed("training", precision="float64")),
        "float64 is for comparisons",
        case_of(),
    ),
    (
        advice.more_memory_than_there_is,
        case_of(memory_mb=70_000.0),
        "about 70,000 MB of the machine's 64,000",
        case_of(memory_mb=40_000.0),
    ),
    (
        advice.more_memory_than_there_is,
        case_of(machine=CARD, on_gpu_mb=80_000.0),
        "about 80,000 MB of the GPU's 81,559",
        case_of(machine=CARD, on_gpu_mb=40_000.0, memory_mb=70_000.0),
    ),
    (
        advice.more_memory_than_there_is,
        case_of(machine=CARD, on_gpu_mb=80_000.0),
        "use --microbatch_size",
        case_of(machine=H100, on_gpu_mb=80_000.0),  # The driver did not tell.
    ),
    (advice.waits_for_data, case_of(trial=trial(data_wait=0.5)), "50% of the trial", case_of()),
    (advice.loss_not_finite, case_of(trial=trial(loss=float("nan"))), "not finite", case_of()),
    (
        advice.hours_between_checkpoints,
        case_of(trial=trial(step_s=60.0)),
        "every 5.2 hours, and a killed run loses everything since the last one; try --checkpoint_steps=30",
        case_of(trial=None),
    ),
    (
        advice.seconds_between_checkpoints,
        case_of(interval=2),
        "one every 2.0 seconds slows training down; try --checkpoint_steps=300",
        case_of(interval=60),
    ),
]


@pytest.mark.parametrize(
    ("rule", "unwise", "words", "well"),
    CASES,
    ids=[f"{case[0].__name__}-{case[2]}" for case in CASES],
)
def test_a_rule_speaks_where_it_is_unwise_and_only_there(rule: Rule, unwise: Case, words: str, well: Case):
    said = rule(unwise)
    assert said is not None and words in said, said
    assert said in advise(unwise)
    assert rule(well) is None


def test_every_rule_is_tested():
    assert {rule for rule, *_ in CASES} == set(RULES)


@pytest.mark.parametrize(
    "config", [PAPER, NO_MEMORY, LINEAR, stage("supervised")], ids=["v2", "no memory", "v1", "supervised"]
)
def test_nothing_is_said_of_the_papers_settings(config):
    assert advise(case_of(config)) == ()
