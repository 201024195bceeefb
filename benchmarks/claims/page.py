"""The measured part of docs/claims.md."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.claims.findings import Finding, Sample
from benchmarks.claims.record import Record
from benchmarks.claims.scale import Scale
from benchmarks.measuring.measured_page import percent

_SENTENCES = {
    "seen": "The paper's direction was observed: {}.",
    "undecided": "Undecided at this scale: {}.",
    "the opposite": "The opposite was observed for: {}.",
}


def measured_part(records: Sequence[Record]) -> str:
    """Everything that was measured, in Markdown."""
    return "\n\n".join(map(_part, records))


def _part(record: Record) -> str:
    letters = ", ".join(f"({finding.letter})" for finding in record.findings)
    return "\n\n".join(
        [
            f"Claim{'s' if len(record.findings) > 1 else ''} {letters}: {_scale_in_words(record.scale)}",
            *map(_section, record.findings),
        ]
    )


def _section(finding: Finding) -> str:
    return "\n\n".join(
        [
            f"### ({finding.letter}) {finding.title}",
            table(finding),
            f"![Accuracies and differences of claim {finding.letter}](images/claims_{finding.letter}.png)",
            sentence(finding),
        ]
    )


def table(finding: Finding) -> str:
    """Mean and standard deviation of the accuracies and of the paired differences."""
    accuracies = [f"| {sample.label} | {percent(sample.values)} | |" for sample in finding.accuracies]
    differences = [
        f"| difference: {sample.label} | {percent(sample.values, '+')} | {_verdict(sample)} |"
        for sample in finding.differences
    ]
    return "\n".join(["| top-1, % | mean ± std | verdict |", "|---|---|---|", *accuracies, *differences])


def sentence(finding: Finding) -> str:
    """Says of every comparison whether the paper's direction was observed."""
    said = []
    for outcome, words in _SENTENCES.items():
        labels = [sample.label for sample in finding.differences if sample.verdict == outcome]
        if labels:
            said.append(words.format("; ".join(labels)))
    return " ".join(said)


def _verdict(sample: Sample) -> str:
    """The verdict, with the standard deviations that the mean is away from nothing."""
    if not sample.deviation:
        return sample.verdict
    return f"{sample.verdict} ({abs(sample.mean) / sample.deviation:.1f} deviations)"


def _scale_in_words(scale: Scale) -> str:
    return (
        f"measured with {scale.train_images:,} training and {scale.test_images:,} test images at "
        f"{scale.image_size} pixels, {scale.precision}; ResNet-{scale.big_depth} is the big network, "
        f"ResNet-{scale.small_depth} the small one; {scale.pretrain_epochs} epochs of pretraining in batches "
        f"of {scale.pretrain_batch_size}; {len(scale.seeds)} seeds."
    )
