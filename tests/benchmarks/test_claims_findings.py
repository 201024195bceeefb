"""Verdicts, tables and the page, on numbers made by hand."""

import dataclasses
import pathlib

import pytest
from PIL import Image

from benchmarks.claims import figures
from benchmarks.claims.claim import Arm, Claim, Comparison, claims
from benchmarks.claims.findings import find
from benchmarks.claims.page import measured_part, sentence, table
from benchmarks.claims.record import Record, read_records
from benchmarks.claims.results import Results
from benchmarks.claims.scale import GPU, SMALL
from benchmarks.claims.verdict import verdict
from benchmarks.measuring.measured_page import BEGIN, END, rewrite

ROOT = pathlib.Path(__file__).resolve().parents[2]
NEW, OLD = Arm("new", "new"), Arm("old", "old", "probe")
CLAIM = Claim("x", "New is better", (NEW, OLD), (Comparison("new beats old", (NEW,), (OLD,)),))
TOP_1 = "eval/label_top_1_accuracy"


def results(new, old):
    return {f"new_{seed}": {TOP_1: value} for seed, value in enumerate(new)} | {
        f"old_{seed}": {TOP_1: 0.0, "probe": value} for seed, value in enumerate(old)
    }


def finding(new, old):
    return find(CLAIM, results(new, old), (0, 1, 2))


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ((2, 3, 4), "seen"),  # 3 against 1
        ((-2, -3, -4), "the opposite"),
        ((0, 1, 2), "undecided"),  # 1 against 1: not more than one deviation
        ((-2, -1, 0), "undecided"),
        ((-4, 1, 4), "undecided"),
        ((0, 0, 0), "undecided"),
        ((1, 1, 1), "seen"),
        ((0, 0.9, 1.8), "undecided"),  # equal to the sample's deviation, above the population's 0.73
    ],
)
def test_a_verdict_compares_mean_and_sample_deviation(differences, expected):
    assert verdict(differences) == expected


def test_differences_are_paired_by_seed():
    """Accuracies that vary a lot from seed to seed, but always in the same direction."""
    measured = finding((0.5, 0.7, 0.9), (0.4, 0.61, 0.79))
    assert measured.differences[0].values == pytest.approx((0.1, 0.09, 0.11))
    assert measured.differences[0].verdict == "seen"
    assert measured.accuracies[1].values == (0.4, 0.61, 0.79)


def test_a_difference_of_differences():
    lead = Comparison("lead", (NEW, NEW), (OLD, OLD))
    both = find(dataclasses.replace(CLAIM, comparisons=(lead,)), results((3, 3, 4), (1, 2, 2)), (0, 1, 2))
    assert both.differences[0].values == (4, 2, 4)


def test_the_table_has_means_deviations_and_verdicts():
    assert table(finding((0.5, 0.6, 0.7), (0.4, 0.49, 0.61))).splitlines() == [
        "| top-1, % | mean ± std | verdict |",
        "|---|---|---|",
        "| new | 60.0 ± 10.0 | |",
        "| old | 50.0 ± 10.5 | |",
        "| difference: new beats old | +10.0 ± 1.0 | seen (10.0 deviations) |",
    ]


def test_the_sentence_says_what_was_not_seen():
    assert sentence(finding((0.5, 0.5, 0.5), (0.1, 0.1, 0.2))) == (
        "The paper's direction was observed: new beats old."
    )
    worse = finding((0.1, 0.1, 0.2), (0.5, 0.5, 0.5))
    assert sentence(worse) == "The opposite was observed for: new beats old."
    assert sentence(finding((0.1, 0.5, 0.3), (0.5, 0.1, 0.3))) == "Undecided at this scale: new beats old."


def test_rewriting_leaves_the_text_around_alone(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    rewrite(page, "new")
    rewrite(page, "newer")
    assert page.read_text() == f"before\n\n{BEGIN}\n\nnewer\n\n{END}\n\nafter\n"


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}\n{END}\n{END}"])
def test_a_page_without_its_marks_is_refused(tmp_path, text):
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(SystemExit, match="must have one line"):
        rewrite(page, "new")
    assert page.read_text() == text


def test_the_page_of_the_claims_has_its_marks(tmp_path):
    page = tmp_path / "claims.md"
    page.write_text((ROOT / "docs" / "claims.md").read_text())
    rewrite(page, "what was measured")
    assert "what was measured" in page.read_text()


def made_up_results(folder, scale=SMALL, letters="abcde"):
    asked = [claim for claim in claims(scale) if claim.letter in letters]
    arms = {(arm.stage, arm.result) for claim in asked for arm in claim.arms}
    made: dict[str, dict[str, float]] = {}
    for number, (stage, result) in enumerate(sorted(arms)):
        for seed in scale.seeds:
            made.setdefault(f"{stage}_{seed}", {})[result] = 0.6 + 0.01 * number + 0.02 * seed
    results = Results(folder / f"claims_{scale.pretrain_epochs}.json", scale)
    for name, result in made.items():
        results.add(name, result)
    return results


def made_up_record(folder):
    return Record.judge(made_up_results(folder), "abcde")


def test_the_page_has_every_claim_and_its_figure(tmp_path):
    text = measured_part([made_up_record(tmp_path)])
    for letter in "abcde":
        assert f"### ({letter}) " in text and f"(images/claims_{letter}.png)" in text
    assert (
        "Claims (a), (b), (c), (d), (e): measured with 4,000 training and 2,000 test images at 33 pixels"
        in text
    )


def test_results_are_judged_as_they_were_written(tmp_path):
    assert read_records([made_up_results(tmp_path).path]) == [made_up_record(tmp_path)]


def test_a_claim_that_lacks_a_run_is_not_judged(tmp_path):
    results = made_up_results(tmp_path)
    del results.results["finetuned_small_layer2_10pct_1"]
    letters = [finding.letter for finding in Record.judge(results, "abcde").findings]
    assert letters == ["a", "c", "d", "e"]


def test_a_claim_is_taken_from_its_longest_pretraining(tmp_path):
    files = [made_up_results(tmp_path).path, made_up_results(tmp_path, GPU, "b").path]
    small, gpu = read_records(files)
    assert small.scale == SMALL and [finding.letter for finding in small.findings] == ["a", "c", "d", "e"]
    assert gpu.scale == GPU and [finding.letter for finding in gpu.findings] == ["b"]


def test_the_page_shows_the_committed_results():
    """Whoever adds results also types `paper_claims.py --docs`."""
    measured = measured_part(read_records((ROOT / "docs" / "measured").glob("claims_*.json")))
    assert f"{BEGIN}\n\n{measured}\n\n{END}" in (ROOT / "docs" / "claims.md").read_text()


@pytest.mark.parametrize("number", range(5))
def test_figures_are_small_and_opaque(tmp_path, number):
    path = figures.save(made_up_record(tmp_path).findings[number], tmp_path)
    assert path.stat().st_size < 100_000
    image = Image.open(path).convert("RGBA")
    assert image.getpixel((0, 0)) == (255, 255, 255, 255)


def test_a_figure_shows_means_and_deviations_in_percent():
    left, right = figures.draw(finding((0.5, 0.6, 0.7), (0.4, 0.49, 0.61))).axes
    (new, old), (difference,) = left.containers, right.containers
    assert [float(bar[0].get_xdata()[0]) for bar in (new, old, difference)] == pytest.approx([60, 50, 10])
    segment = new[2][0].get_segments()[0]
    assert segment[:, 0] == pytest.approx([50, 70])
