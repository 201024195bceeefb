"""What fits into the time that is left."""

import dataclasses

import pytest

from tf_simclrv2.auto.commands import label_batch, label_epochs
from tf_simclrv2.auto.schedule import Labels, Measured, least_s, schedule

MEASURED = Measured(images=1_000, start_s=20.0, image_s=0.002)


def test_seconds_follow_from_the_steps():
    # 70 labels: 100 epochs of two batches of 35, with half the work of pretraining per image.
    assert (label_batch(70), label_epochs(70)) == (35, 100)
    assert MEASURED.finetune_s(70) == pytest.approx(2 * 20 + 100 * 70 * 0.002 * 0.5)
    assert MEASURED.finetune_s(191) == pytest.approx(2 * 20 + label_epochs(191) * 191 * 0.002 * 0.5)
    assert MEASURED.distill_s(10) == pytest.approx(2 * 20 + 10 * 1_000 * 0.002 * 0.7)
    assert dataclasses.replace(MEASURED, image_s=0.004).distill_s(10) == pytest.approx(2 * 20 + 28)


@pytest.mark.parametrize(
    ("labels", "batch", "epochs"), [(2, 1, 100), (20, 10, 100), (1_000, 64, 20), (10**6, 64, 20)]
)
def test_few_labels_are_seen_more_often(labels, batch, epochs):
    assert (label_batch(labels), label_epochs(labels)) == (batch, epochs)


def test_more_time_allows_more_stages():
    labels = Labels(300, 225)
    plans = [schedule(MEASURED, labels, seconds, pretrained=True) for seconds in (60, 200, 260, 300, 400)]
    assert [(plan.layers, plan.distills) for plan in plans] == [
        ((1,), False),
        ((1,), False),
        ((0, 1, 2), False),
        ((1,), True),
        ((0, 1, 2), True),
    ]
    assert all(plan.seconds <= left for plan, left in zip(plans[1:], (200, 260, 300, 400), strict=True))


@pytest.mark.parametrize(
    ("labels", "measures"),
    [(Labels(70, 50, tested=True), False), (Labels(70, 50, tested=False), True), (Labels(10), False)],
    ids=["tested", "not_tested", "none_held_out"],
)
def test_few_held_out_labels_compare_nothing(labels: Labels, measures: bool):
    """They measure, if nothing else can; distilling is worth more."""
    plans = [schedule(MEASURED, labels, seconds, pretrained=True) for seconds in (60, 10_000)]
    assert [(plan.layers, plan.distills, plan.measures) for plan in plans] == [
        ((1,), False, False),
        ((1,), True, measures),
    ]
    trained = MEASURED.finetune_s(labels.count) + MEASURED.distill_s() + MEASURED.closing_s
    assert plans[1].seconds == pytest.approx(trained + (MEASURED.finetune_s(50) if measures else 0.0))
    assert schedule(MEASURED, labels, trained, pretrained=True).distills


def test_pretraining_keeps_half_of_the_time():
    labels = Labels(300, 225)
    plan = schedule(MEASURED, labels, 600.0, pretrained=False)
    assert plan.seconds <= 300.0
    assert schedule(MEASURED, labels, 600.0, pretrained=True).seconds > 300.0


def test_without_labels_only_the_end_is_left():
    plan = schedule(MEASURED, Labels(0), 500.0, pretrained=False)
    assert plan.seconds == pytest.approx(1.2 * MEASURED.closing_s) and not plan.distills


def test_the_least_is_an_epoch_and_what_cannot_be_left_out():
    # A start and an evaluation, an epoch; then fine-tuning on 70 labels, export and report with a fifth more.
    evaluation, epoch = 0.5 * 20 + 1_000 * 0.002 * 0.2, 1_000 * 0.002
    fewest = MEASURED.finetune_s(70) + MEASURED.closing_s
    assert least_s(MEASURED, 70) == pytest.approx(20 + evaluation + epoch + 1.2 * fewest)
    assert least_s(MEASURED, 0) == pytest.approx(20 + epoch + 1.2 * MEASURED.closing_s)
