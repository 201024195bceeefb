"""The plan: which runs there are, what starts from what, and that every claim finds its numbers."""

import collections
import dataclasses
import pathlib

import pytest
from absl import flags

from benchmarks.claims.claim import LINEAR, claims
from benchmarks.claims.estimate import piece_seconds, stage_seconds
from benchmarks.claims.execute import stage_config
from benchmarks.claims.names import percent
from benchmarks.claims.plan import needed, pieces, plan
from benchmarks.claims.scale import FULL, SCALES, SMALL
from benchmarks.measuring.stages import recipe
from flags import define_flags

OUTPUT = pathlib.Path("runs/claims")
STAGES = plan(SMALL, OUTPUT)


@pytest.fixture(scope="module", autouse=True)
def _defined():
    """Flags can be defined once a process."""
    if "train_mode" not in flags.FLAGS:
        define_flags()


# What claim b fine-tunes: both heads from each of their layers.
FROM_LAYERS = ("small", "small_layer0", "small_layer2", "shallow_head", "shallow_head_layer1")


def config(name, scale=SMALL):
    return stage_config(next(stage for stage in plan(scale, OUTPUT) if stage.name == name), OUTPUT)


def test_runs_are_shared():
    """4 networks; 13 fine-tunings; 2 students with 3 alphas; 2 baselines: with three seeds each."""
    kinds = collections.Counter(stage.name.split("_")[0] for stage in STAGES)
    assert kinds == {"pretrained": 12, "finetuned": 39, "distilled": 18, "scratch": 6}
    assert len({stage.name for stage in STAGES}) == len(STAGES)


def test_every_stage_comes_behind_the_one_it_starts_from():
    before = set()
    for stage in STAGES:
        assert stage.start is None or stage.start in before, stage.name
        before.add(stage.name)


def test_every_run_belongs_to_a_claim():
    """Directly, or since a run of a claim starts from it."""
    assert needed(STAGES, claims(SMALL), SMALL.seeds) == STAGES
    measured = {
        f"{arm.stage}_{seed}" for claim in claims(SMALL) for arm in claim.arms for seed in SMALL.seeds
    }
    names = {stage.name for stage in STAGES}
    assert measured <= names
    starts = {stage.name: stage.start for stage in STAGES}
    belonging = set()
    for name in measured:
        while name:
            belonging.add(name)
            name = starts[name]
    assert belonging == names


def test_a_claim_alone_needs_its_own_runs():
    deeper_head = next(claim for claim in claims(SMALL) if claim.letter == "b")
    kinds = collections.Counter(stage.name[:-2] for stage in needed(STAGES, [deeper_head], (0, 1)))
    finetuned = {f"finetuned_{name}_{percent(share)}" for name in FROM_LAYERS for share in SMALL.fractions}
    assert kinds == dict.fromkeys({"pretrained_small", "pretrained_shallow_head", *finetuned}, 2)


def test_comparisons_are_of_arms_of_the_claim():
    for claim in claims(SMALL):
        measured = {(arm.stage, arm.result) for arm in claim.arms}
        for comparison in claim.comparisons:
            assert {(arm.stage, arm.result) for arm in (*comparison.more, *comparison.less)} <= measured
            assert len(comparison.more) == len(comparison.less)


def test_probes_are_fitted_where_a_claim_reads_them():
    read = {f"{arm.stage}_0" for claim in claims(SMALL) for arm in claim.arms if arm.result == LINEAR}
    networks = {
        stage.name for stage in STAGES if stage.name.startswith("pretrained") and stage.name[-1] == "0"
    }
    assert read == {name for name in networks if "linear" in config(name).evaluation.protocols}
    assert len(read) == 2


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_every_run_is_possible(scale):
    """Configs check themselves when they are built."""
    for stage in plan(scale, OUTPUT):
        made = stage_config(stage, OUTPUT)
        assert made.run.model_dir == str(OUTPUT / stage.name)
        assert made.model.image_size == scale.image_size
        assert made.run.keep_hub_module_max == made.run.report_images == 0


def test_learning_rates_are_of_the_scale_and_those_of_the_recipes():
    """So a file of results says which they were."""
    rates = {
        "pretrained_big_1": "pretrain_rate",
        "finetuned_big_1pct_1": "finetune_rate",
        "scratch_big_1pct_1": "scratch_rate",
        "distilled_small_alpha1.0_1": "distill_rate",
    }
    recipes = {stage.name: stage.recipe for stage in STAGES}
    for name, rate in rates.items():
        of_recipe = recipe(recipes[name], model_dir=OUTPUT, teacher=OUTPUT).optimizer.learning_rate
        assert config(name).optimizer.learning_rate == getattr(SMALL, rate) == of_recipe, name
        other = dataclasses.replace(SMALL, **{rate: 7.0})
        assert other != SMALL and config(name, other).optimizer.learning_rate == 7.0


def test_big_and_small_differ_in_depth_alone():
    big, small = config("pretrained_big_1"), config("pretrained_small_1")
    assert (big.model.resnet_depth, small.model.resnet_depth) == (34, 18)
    model = dataclasses.replace(big.model, resnet_depth=18)
    run = dataclasses.replace(big.run, model_dir=small.run.model_dir)
    assert dataclasses.replace(big, model=model, run=run, evaluation=small.evaluation) == small


def test_memory_and_head_are_what_the_claims_vary():
    small, memory = config("pretrained_small_2"), config("pretrained_memory_2")
    assert (small.objective.memory_size, memory.objective.memory_size) == (0, 512)
    assert memory.model == small.model and memory.training == small.training
    shallow = config("finetuned_shallow_head_10pct_0").model
    deep = config("finetuned_small_10pct_0").model
    assert (shallow.num_proj_layers, shallow.ft_proj_selector) == (2, 0)
    assert (deep.num_proj_layers, deep.ft_proj_selector) == (3, 1)
    other = config("finetuned_small_layer2_10pct_0")
    assert (other.model.num_proj_layers, other.model.ft_proj_selector) == (3, 2)
    assert other.run.checkpoint == str(OUTPUT / "pretrained_small_0")


def test_seeds_draw_other_labels_and_weights():
    for seed in SMALL.seeds:
        tuned = config(f"finetuned_big_1pct_{seed}")
        assert tuned.data.label_fraction == 0.01
        assert tuned.data.label_seed == tuned.training.seed == seed
        assert tuned.run.checkpoint == str(OUTPUT / f"pretrained_big_{seed}")
        student = config(f"distilled_small_alpha0.5_{seed}")
        assert student.distillation.teacher == str(OUTPUT / f"finetuned_big_1pct_{seed}")
        assert (student.distillation.distill_alpha, student.data.label_fraction) == (0.5, 0.01)
        assert student.data.label_seed == student.training.seed == seed


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_every_claim_of_a_scale_finds_its_runs(scale):
    stages = plan(scale, OUTPUT)
    assert {stage.name for stage in needed(stages, claims(scale), scale.seeds)} == {
        stage.name for stage in stages
    }
    for claim in claims(scale):
        measured = {(arm.stage, arm.result) for arm in claim.arms}
        assert len(measured) == len({arm.label for arm in claim.arms}) == len(claim.arms)
        for comparison in claim.comparisons:
            assert {(arm.stage, arm.result) for arm in (*comparison.more, *comparison.less)} <= measured


def test_the_full_scale():
    """All of Fashion-MNIST; heads of 2, 3 and 4 layers from every layer; a memory at two batch sizes."""
    assert (FULL.train_images, FULL.test_images, FULL.image_size) == (60_000, 10_000, 28)
    names = {stage.name[:-2] for stage in plan(FULL, OUTPUT)}
    for head, layers in (("shallow_head", (1,)), ("small", (0, 2)), ("deep_head", (0, 2, 3))):
        from_layers = ("", *(f"_layer{layer}" for layer in layers))
        assert {f"finetuned_{head}{layer}_{share}" for layer in from_layers for share in PERCENT} <= names
    deep, every = config("finetuned_deep_head_layer3_100pct_1", FULL), config("pretrained_deep_head_1", FULL)
    assert (deep.model.num_proj_layers, deep.model.ft_proj_selector) == (
        4,
        3,
    ) and every.model.num_proj_layers == 4
    assert deep.training.train_steps * 128 == pytest.approx(10 * 60_000, rel=0.01)
    memory, without = config("pretrained_memory_batch64_0", FULL), config("pretrained_small_batch64_0", FULL)
    assert memory.training.train_batch_size == without.training.train_batch_size == 64
    assert (memory.objective.memory_size, without.objective.memory_size) == (16_384, 0)
    self_distilled, student = (
        config("distilled_big_alpha1.0_0", FULL),
        config("distilled_small_alpha1.0_0", FULL),
    )
    assert self_distilled.distillation.distill_temperature == 0.1
    assert self_distilled.optimizer.learning_rate == pytest.approx(0.04)
    assert config("distilled_big_alpha0.0_0", FULL).optimizer.learning_rate == 4.0  # Labels alone.
    assert (student.distillation.distill_temperature, student.optimizer.learning_rate) == (1.0, 4.0)


PERCENT = ("1pct", "10pct", "100pct")


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_pieces_are_the_whole_and_stand_alone(scale):
    stages = plan(scale, OUTPUT)
    parts = pieces(stages)
    assert {stage.name for part in parts.values() for stage in part} == {stage.name for stage in stages}
    for name, part in parts.items():
        assert len({stage.name[-1] for stage in part}) == 1, name  # One seed each.
        assert len([stage for stage in part if stage.name.startswith("pretrained")]) <= 1
        there = {stage.name for stage in part}
        assert all(stage.start is None or stage.start in there for stage in part)
    assert [stage.name for stage in parts["shallow_head_10pct_2"]] == [
        "pretrained_shallow_head_2",
        "finetuned_shallow_head_10pct_2",
        "finetuned_shallow_head_layer1_10pct_2",
    ]
    assert [stage.name for stage in parts["distilled_small_alpha0.5_0"]] == [
        "pretrained_big_0",
        "finetuned_big_1pct_0",
        "distilled_small_alpha0.5_0",
    ]


def test_parts_of_the_full_scale_take_minutes_on_a_gpu():
    """Less than the eight that a part may take, by the step that was measured."""
    stages = {stage.name: stage for stage in plan(FULL, OUTPUT)}
    # 100 epochs of 117 steps of 512 images, each 12.3 ms for ResNet-18; 45 s for the start.
    assert stage_seconds(stages["pretrained_small_0"], FULL) == pytest.approx(45 + 11_700 * 0.0123)
    # 10 epochs of all labels in batches of 128, which take the least that a step takes.
    assert stage_seconds(stages["finetuned_small_100pct_0"], FULL) == pytest.approx(
        45 + 4_688 * 0.004, rel=1e-3
    )
    # 64 images and 128 with labels, in one view, through two ResNet-34 and through one: twice a ResNet-18.
    distilled = stage_seconds(stages["distilled_big_alpha0.5_0"], FULL)
    assert distilled == pytest.approx(45 + 9_370 * (64 * (1 + 1 / 3) + 128) * 0.0123 / 512)
    assert config("distilled_big_alpha0.5_0", FULL).training.train_batch_size == 64
    assert max(piece_seconds(part, FULL) for part in pieces(list(stages.values())).values()) < 8 * 60
