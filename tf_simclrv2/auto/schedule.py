"""Which stages after pretraining fit into the time that is left, by measured seconds."""

from __future__ import annotations

import dataclasses

from tf_simclrv2.auto.commands import DISTILL_EPOCHS, HEAD_LAYERS, label_batch, label_epochs

# The paper's layer, where there is no time or no label to compare them; the order that settles ties.
PREFERRED = (1, 0, 2)
# The share of the remaining time that pretraining keeps, and what estimates may be wrong by.
_PRETRAINING_SHARE, _MARGIN = 0.5, 1.2
# In starts of a trial, as measured: a stage, which loads weights, traces training and evaluation and writes
# its report in addition to its steps; an export with its check in a fresh process; the report of the job.
_STAGE_STARTS, _EXPORT_STARTS, _REPORT_STARTS = 2.0, 1.7, 0.5
# Work of a step relative to that of a pretraining step, per image, which has two views: fine-tuning has one;
# in distillation the teacher's forward pass comes in addition.
_FINETUNE_WORK, _DISTILL_WORK = 0.5, 0.7
# Evaluating frozen features: a forward pass per image; tracing it and fitting the classifier, in starts.
_PROBE_WORK, _PROBE_STARTS = 0.2, 0.5


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a trial has measured.

    Attributes:
        images: Pictures in an epoch of pretraining.
        start_s: Seconds until a trial trains.
        image_s: Seconds of a pretraining step per picture.
    """

    images: int
    start_s: float
    image_s: float

    def finetune_s(self, labels: int) -> float:
        """Seconds of fine-tuning on some labels."""
        steps = label_epochs(labels) * max(1, labels // label_batch(labels))
        return _STAGE_STARTS * self.start_s + steps * label_batch(labels) * self.image_s * _FINETUNE_WORK

    def distill_s(self, epochs: int = DISTILL_EPOCHS) -> float:
        """Seconds of distillation on all pictures."""
        return _STAGE_STARTS * self.start_s + epochs * self.images * self.image_s * _DISTILL_WORK

    def beside_steps_s(self, probed: bool) -> float:
        """Seconds of pretraining beside its steps: its start and, if there are labels, its evaluation."""
        probe = _PROBE_STARTS * self.start_s + self.images * self.image_s * _PROBE_WORK
        return self.start_s + (probe if probed else 0.0)

    @property
    def closing_s(self) -> float:
        """Seconds of the export and the report."""
        return (_EXPORT_STARTS + _REPORT_STARTS) * self.start_s


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The stages after pretraining.

    Attributes:
        layers: Layers of the projection head to try on held-out labels; one alone is taken untried.
        distills: Whether distillation is tried there, and used if it pays.
        seconds: What all of it takes; before pretraining, with a margin.
    """

    layers: tuple[int, ...]
    distills: bool
    seconds: float


def schedule(measured: Measured, labels: int, learn: int, left_s: float, pretrained: bool) -> Schedule:
    """Returns the most that fits.

    Args:
        measured: Of the trial.
        labels: How many pictures have a label; 0 has no stage but export and report.
        learn: How many of them are learned from while layers are compared; 0 compares nothing.
        left_s: Seconds that are left.
        pretrained: Whether pretraining is over; otherwise it keeps half of the time.
    """
    every = tuple(range(HEAD_LAYERS))
    # Distilling is worth more than choosing the layer, which few held-out labels hardly can.
    options: list[tuple[tuple[int, ...], bool]] = (
        [(every, True), (PREFERRED[:1], True), (every, False)] if learn else []
    )
    options.append((PREFERRED[:1], False))
    limit, margin = (left_s, 1.0) if pretrained else (left_s * (1 - _PRETRAINING_SHARE), _MARGIN)
    found = [Schedule(*option, margin * _seconds(measured, labels, learn, *option)) for option in options]
    return next((one for one in found if one.seconds <= limit), found[-1])


def least_s(measured: Measured, labels: int) -> float:
    """Returns the seconds of an epoch of pretraining and of the fewest stages after it, with a margin.

    Args:
        measured: Of the trial.
        labels: How many pictures have a label.
    """
    epoch = measured.beside_steps_s(probed=labels > 0) + measured.images * measured.image_s
    return epoch + schedule(measured, labels, 0, 0.0, pretrained=False).seconds


def _seconds(measured: Measured, labels: int, learn: int, layers: tuple[int, ...], distills: bool) -> float:
    seconds = measured.closing_s
    if labels:
        seconds += measured.finetune_s(labels)
        seconds += len(layers) * measured.finetune_s(learn) if len(layers) > 1 or distills else 0.0
        seconds += 2 * measured.distill_s() if distills else 0.0
    return seconds
