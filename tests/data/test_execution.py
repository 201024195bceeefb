import os
import threading

import pytest
import tensorflow as tf

from tf_simclrv2.config import DataConfig
from tf_simclrv2.data import (
    BatchOptions,
    distillation_batches,
    evaluation_batches,
    finetuning_batches,
    load_source,
    pretraining_batches,
)
from tf_simclrv2.data.execution import available_cores, in_parallel

OPTIONS = BatchOptions(image_size=8, batch_size=4)
STREAMS = {
    "pretrain": lambda source, config: pretraining_batches(source, config, OPTIONS),
    "finetune": lambda source, config: finetuning_batches(source, config, OPTIONS),
    "distill": lambda source, config: distillation_batches(source, None, config, OPTIONS),
    "distill with labels": lambda source, config: distillation_batches(source, source, config, OPTIONS),
    "evaluate": lambda source, config: evaluation_batches(source, image_size=8, batch_size=4),
}


@pytest.mark.parametrize("stream", STREAMS)
def test_no_pipeline_is_tuned_while_it_runs(stream, tmp_path):
    """Else about one in five iterators waits as long as it ran, up to a minute, when it is deleted."""
    config = DataConfig(dataset="digits", data_dir=str(tmp_path))
    batches = STREAMS[stream](load_source(config, "train[:20]"), config)
    assert batches.options().autotune.enabled is False
    assert batches.options().deterministic is True


def test_a_pass_over_the_records_alone_is_not_tuned_either(tmp_path):
    """As the one that finds the labels of all of ImageNet."""
    source = load_source(DataConfig(dataset="digits", data_dir=str(tmp_path)), "train")
    assert source.records.options().autotune.enabled is False


@pytest.mark.skipif(available_cores() < 2, reason="a single core")
def test_two_cores_work_at_once_and_the_order_stays():
    both = threading.Barrier(2)

    def meet(number):
        both.wait(timeout=30)
        return number

    records = tf.data.Dataset.range(4)
    found = in_parallel(records, lambda number: tf.numpy_function(meet, [number], tf.int64))
    assert [int(number) for number in found] == [0, 1, 2, 3]


def test_cores_that_the_process_may_not_use_do_not_count():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert available_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert available_cores() == len(before)
