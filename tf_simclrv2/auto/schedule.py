"""Which stages after pretraining fit into the time that is left, by measured seconds."""

from __future__ import annotations

import dataclasses

from tf_simclrv2.auto.commands import DISTILL_EPOCHS, HEAD_LAYERS, label_epochs

# The paper's layer, where there is no time to compare them or too few labels; the order that settles ties.
PREFERRED = (1, 0, 2)
# Held-out labels that a comparison needs: from 50, an accuracy is known to about 5 points. With fewer, chance
# would choose, and the time is worth more in training.
FEWEST_TO_COMPARE = 50
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
        return _STAGE_STARTS * self.start_s + label_epochs(labels) * labels * self.image_s * _FINETUNE_WORK

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
class Labels:
    """How many labels there are, and what for.

    Attributes:
        count: Pictures with a label.
        learn: Those that are learned from while the others are held out; 0 if none can be.
        tested: Whether there are other pictures to measure the result on.
    """

    count: int
    learn: int = 0
    tested: bool = True

    @property
    def compare(self) -> bool:
        """Whether enough are held out to choose a layer and to judge a student."""
        return self.learn > 0 and self.count - self.learn >= FEWEST_TO_COMPARE

    @property
    def measure(self) -> bool:
        """Whether the held-out ones, too few to choose by, are all that the result can be measured on."""
        return self.learn > 0 and not self.compare and not self.tested


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The stages after pretraining.

    Attributes:
        layers: Layers of the projection head to compare on held-out labels; one alone is taken as it is.
        distills: Whether the fine-tuned network is distilled; if students can be judged, if it pays.
        measures: Whether a layer is fine-tuned without the held-out labels.
        seconds: What all of it takes; before pretraining, with a margin.
    """

    layers: tuple[int, ...]
    distills: bool
    measures: bool
    seconds: float


def schedule(measured: Measured, labels: Labels, left_s: float, pretrained: bool) -> Schedule:
    """Returns the most that fits.

    Args:
        measured: Of the trial.
        labels: Without any, there is no stage but export and report.
        left_s: Seconds that are left.
        pretrained: Whether pretraining is over; otherwise it keeps half of the time.
    """
    limit, margin = (left_s, 1.0) if pretrained else (left_s * (1 - _PRETRAINING_SHARE), _MARGIN)
    found = [Schedule(*option, margin * _seconds(measured, labels, *option)) for option in _options(labels)]
    return next((one for one in found if one.seconds <= limit), found[-1])


def _options(labels: Labels) -> list[tuple[tuple[int, ...], bool, bool]]:
    """The layers, whether to distill and whether to measure, from the most to the least."""
    every, preferred = tuple(range(HEAD_LAYERS)), PREFERRED[:1]
    if labels.compare:  # Distilling is worth more than choosing the layer.
        found = [(every, True, True), (preferred, True, True), (every, False, True)]
    elif labels.measure:
        found = [(preferred, True, True), (preferred, True, False)]
    else:
        found = [(preferred, True, False)] if labels.count else []
    return [*found, (preferred, False, False)]


def least_s(measured: Measured, labels: int) -> float:
    """Returns the seconds of an epoch of pretraining and of the fewest stages after it, with a margin.

    Args:
        measured: Of the trial.
        labels: How many pictures have a label.
    """
    epoch = measured.beside_steps_s(probed=labels > 0) + measured.images * measured.image_s
    return epoch + schedule(measured, Labels(labels), 0.0, pretrained=False).seconds


def _seconds(
    measured: Measured, labels: Labels, layers: tuple[int, ...], distills: bool, measures: bool
) -> float:
    seconds = measured.closing_s
    if labels.count:
        seconds += measured.finetune_s(labels.count)
        seconds += len(layers) * measured.finetune_s(labels.learn) if measures else 0.0
        seconds += (2 if labels.compare else 1) * measured.distill_s() if distills else 0.0
    return seconds
