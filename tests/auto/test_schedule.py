"""What fits into the time that is left."""

import dataclasses

import pytest

from tf_simclrv2.auto.commands import label_batch, label_epochs
from tf_simclrv2.auto.schedule import Measured, least_s, schedule

MEASURED = Measured(images=1_000, start_s=20.0, image_s=0.002)


def test_seconds_follow_from_the_steps():
    # 70 labels: 100 epochs of two batches of 35, with half the work of pretraining per image.
    assert (label_batch(70), label_epochs(70)) == (35, 100)
    assert MEASURED.finetune_s(70) == pytest.approx(2 * 20 + 100 * 70 * 0.002 * 0.5)
    assert MEASURED.distill_s(10) == pytest.approx(2 * 20 + 10 * 1_000 * 0.002 * 0.7)
    assert dataclasses.replace(MEASURED, image_s=0.004).distill_s(10) == pytest.approx(2 * 20 + 28)


@pytest.mark.parametrize(
    ("labels", "batch", "epochs"), [(2, 1, 100), (20, 10, 100), (1_000, 64, 20), (10**6, 64, 20)]
)
def test_few_labels_are_seen_more_often(labels, batch, epochs):
    assert (label_batch(labels), label_epochs(labels)) == (batch, epochs)


def test_more_time_allows_more_stages():
    plans = [schedule(MEASURED, 70, 52, seconds, pretrained=True) for seconds in (60, 130, 230, 260, 380)]
    assert [(plan.layers, plan.distills) for plan in plans] == [
        ((1,), False),
        ((1,), False),
        ((0, 1, 2), False),
        ((1,), True),
        ((0, 1, 2), True),
    ]
    assert all(plan.seconds <= left for plan, left in zip(plans[1:], (130, 230, 260, 380), strict=True))


def test_pretraining_keeps_half_of_the_time():
    plan = schedule(MEASURED, 70, 52, 500.0, pretrained=False)
    assert plan.seconds <= 250.0
    assert schedule(MEASURED, 70, 52, 500.0, pretrained=True).seconds > 250.0


def test_without_labels_only_the_end_is_left():
    plan = schedule(MEASURED, 0, 0, 500.0, pretrained=False)
    assert plan.seconds == pytest.approx(1.2 * MEASURED.closing_s) and not plan.distills


def test_without_labels_to_spare_no_layers_are_compared():
    plan = schedule(MEASURED, 10, 0, 10_000.0, pretrained=True)
    assert plan.layers == (1,) and not plan.distills


def test_the_least_is_an_epoch_and_what_cannot_be_left_out():
    # A start and an evaluation, an epoch; then fine-tuning on 70 labels, export and report with a fifth more.
    evaluation, epoch = 0.5 * 20 + 1_000 * 0.002 * 0.2, 1_000 * 0.002
    fewest = MEASURED.finetune_s(70) + MEASURED.closing_s
    assert least_s(MEASURED, 70) == pytest.approx(20 + evaluation + epoch + 1.2 * fewest)
    assert least_s(MEASURED, 0) == pytest.approx(20 + epoch + 1.2 * MEASURED.closing_s)
