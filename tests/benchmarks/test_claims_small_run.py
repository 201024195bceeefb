"""Two real runs of the plan, as small as they get, from images to a number."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from absl import flags

from benchmarks.claims.claim import LINEAR
from benchmarks.claims.execute import execute
from benchmarks.claims.fashion_mnist import write_split
from benchmarks.claims.plan import IMAGES, plan
from benchmarks.claims.scale import SMALL
from benchmarks.stages import TOP_1
from flags import define_flags

TINY = dataclasses.replace(
    SMALL,
    pretrain_batch_size=20,
    pretrain_epochs=1,
    memory_size=40,
    label_batch_size=10,
    finetune_steps=1,
    seeds=(0,),
)


@pytest.fixture(scope="module", autouse=True)
def _defined():
    """Flags can be defined once a process."""
    if "train_mode" not in flags.FLAGS:
        define_flags()


def test_pretraining_and_fine_tuning_leave_the_numbers_of_the_claims(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 28, 28), np.uint8)
    for split in ("train", "test"):
        write_split(tmp_path / IMAGES / split, images, np.arange(40) % 10, 40)
    names = ("pretrained_memory_0", "finetuned_memory_1pct_0")
    stages = [stage for stage in plan(TINY, tmp_path) if stage.name in names]
    with ThreadPoolExecutor(1) as processes:
        results = execute(stages, tmp_path, processes)
    pretrained, finetuned = (results[name] for name in names)
    assert (pretrained["global_step"], finetuned["global_step"]) == (2, 1)
    assert pretrained[LINEAR] * 40 == pytest.approx(round(pretrained[LINEAR] * 40), abs=1e-4)
    assert finetuned[TOP_1] * 40 == pytest.approx(round(finetuned[TOP_1] * 40), abs=1e-4)
    assert list((tmp_path / names[0]).glob("ckpt-*")) and not list((tmp_path / names[1]).glob("ckpt-*"))
