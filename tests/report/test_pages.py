"""Pages of made-up runs: what is shown, what is told to be missing, and what is refused."""

import dataclasses
import pathlib
import runpy
import sys

import numpy as np
import pytest

from tests.report.made_up_runs import LAST_STEP, made_up_run, observed
from tests.report.parsed_page import ParsedPage
from tf_simclrv2 import ConfigError
from tf_simclrv2.report.build import write_comparison, write_report
from tf_simclrv2.report.confusion import confusion_of
from tf_simclrv2.report.label_efficiency import label_efficiency
from tf_simclrv2.report.neighbors import hardest_rows, right_share, some_rows
from tf_simclrv2.report.observations import DamagedObservations, Observations
from tf_simclrv2.report.run_record import read_run

MEGABYTES = 10**6


def page_of(run: pathlib.Path) -> ParsedPage:
    return ParsedPage(pathlib.Path(write_report(str(run))))


def test_two_thousand_photographs_fit_in_five_megabytes(tmp_path):
    run = made_up_run(tmp_path / "run", images=2000)
    page = pathlib.Path(write_report(str(run)))
    assert page.stat().st_size < 5 * MEGABYTES
    assert (run / "report_data.npz").stat().st_size < 5 * MEGABYTES


def test_what_a_report_shows(tmp_path):
    page = page_of(made_up_run(tmp_path / "run"))
    for words in ("75.0% top-1", "80.0% linear probe", "Contrastive loss", "Learning rate", "t-SNE"):
        assert words in page.text
    assert "python run.py --resnet_depth=18 --image_size=48 --dataset=cifar10 --eval_split=test" in page.text
    descriptions = " ".join(svg["aria-label"] or "" for svg in page.all("svg"))
    assert "learning rate goes from 0.2667 at step 10 to 0 at step 90" in descriptions
    assert "linear probe of h 60.0% with 7, 80.0% with 5,000" in descriptions


def test_names_are_text_and_not_html(tmp_path):
    run = made_up_run(tmp_path / "<b>run")
    seen = dataclasses.replace(observed(60), class_names=("<script>alert(1)</script>", *"bcdefghij"))
    seen.save(str(run))
    page = page_of(run)
    assert not page.all("script") and not page.all("b")
    assert "<script>alert(1)</script>" in page.text


MISSING = {
    "config.json": "There is no config.json",
    "versions.json": "There is no versions.json",
    "result.json": "the run has not been evaluated",
    "report_data.npz": "There is no report_data.npz",
}


@pytest.mark.parametrize("name", MISSING)
@pytest.mark.parametrize("torn", [False, True], ids=["absent", "torn"])
def test_what_is_missing_is_told_and_the_rest_is_shown(tmp_path, name, torn):
    run = made_up_run(tmp_path / "run", images=12)
    if torn:
        (run / name).write_bytes((run / name).read_bytes()[:20])
    else:
        (run / name).unlink()
    page = page_of(run)
    assert (f"{name} cannot be read" if torn else MISSING[name]) in page.text
    assert "Contrastive loss" in page.text and f"step {LAST_STEP}" in page.text


def test_a_run_that_has_only_begun(tmp_path):
    run = made_up_run(tmp_path / "run")
    for path in [*run.glob("events*"), run / "result.json", run / "report_data.npz"]:
        path.unlink()
    page = page_of(run)
    assert "There are no training events, so no curves are shown." in page.text
    assert "image_size 48" in page.text


def test_events_that_are_still_written(tmp_path):
    run = made_up_run(tmp_path / "run", images=12)
    (path,) = run.glob("events*")
    path.write_bytes(path.read_bytes()[:-7])
    assert "cannot be read; the part before it is shown" in page_of(run).text
    assert read_run(str(run)).training["train/contrast_loss"].steps.tolist() == list(range(10, 100, 10))


def test_without_labels_nothing_is_called_right_or_wrong(tmp_path):
    run = made_up_run(tmp_path / "run")
    nobody = np.full(60, -1)
    seen = dataclasses.replace(observed(60), labels=nobody, predictions=nobody, votes=nobody, class_names=())
    seen.save(str(run))
    page = page_of(run)
    assert "✓" not in page.text and "✗" not in page.text
    assert "Not shown: the images have no labels." in page.text


@pytest.mark.parametrize("images", [2, 4])
def test_very_few_images(tmp_path, images):
    run = made_up_run(tmp_path / "run", images=images)
    assert f"{images} images are too few for a map" in page_of(run).text


def test_a_directory_that_is_no_run(tmp_path):
    with pytest.raises(ConfigError, match=r"has neither config.json nor events; pass the model_dir"):
        write_report(str(tmp_path))


def test_the_command_line(tmp_path, monkeypatch, capsys):
    made_up_run(tmp_path / "one", images=12)

    def typed(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["report", *arguments])
        runpy.run_module("tf_simclrv2.report", run_name="__main__")

    typed(str(tmp_path / "one"))
    assert capsys.readouterr().out == f"report: {tmp_path}/one/report.html\n"
    with pytest.raises(SystemExit, match="error: run is '/nowhere', which has neither"):
        typed(str(tmp_path / "one"), "/nowhere")
    with pytest.raises(SystemExit, match=r"error: output is '/nowhere/report.html', which cannot be written"):
        typed(str(tmp_path / "one"), "--output=/nowhere/report.html")


def test_runs_beside_each_other(tmp_path):
    runs = [
        made_up_run(tmp_path / f"part_{part}", 12, "supervised", label_fraction=part, accuracy=accuracy)
        for part, accuracy in ((0.01, 0.3), (0.1, 0.5), (1.0, 0.9))
    ]
    page = ParsedPage(pathlib.Path(write_comparison([str(run) for run in runs], str(tmp_path / "all.html"))))
    assert "data.label_fraction 0.01 0.1 1.0" in page.text
    assert "top-1 the network's classifier 30.0% 50.0% 90.0%" in page.text
    assert "data.dataset" not in page.text
    efficiency = label_efficiency(map(read_run, map(str, runs)))
    assert efficiency["supervised"] == {50.0: 0.3, 500.0: 0.5, 5000.0: 0.9}


def test_what_was_seen_survives_its_file(tmp_path):
    before = observed(50)
    before.save(str(tmp_path))
    after = Observations.load(str(tmp_path))
    assert after is not None
    for field in dataclasses.fields(before):
        there, here = getattr(before, field.name), getattr(after, field.name)
        if field.name == "images":
            assert np.abs(there.astype(float) - here).mean() < 12  # WebP smooths the noise.
        else:
            np.testing.assert_array_equal(there, here)


def test_neighbors_are_marked_by_their_labels():
    seen = observed(60)
    right = seen.labels[seen.neighbors] == seen.labels[:, np.newaxis]
    assert right_share(seen) == pytest.approx(right.mean())
    hardest = hardest_rows(seen)
    assert sum(shown.right is True for shown in hardest[0].neighbors) == right.sum(axis=1).min()
    for row in [*hardest, *some_rows(seen)]:
        for shown in row.neighbors:
            assert shown.alt.endswith(", right" if shown.right else ", wrong")


def test_neighbors_of_a_split_that_is_labelled_in_part():
    seen = observed(60)
    labels = np.where(np.arange(60) % 4 == 0, seen.labels, -1)
    right = [
        [labels[other] == labels[query] for other in seen.neighbors[query] if labels[other] >= 0]
        for query in range(0, 60, 4)
    ]
    partly = dataclasses.replace(seen, labels=labels)
    assert right_share(partly) == pytest.approx(np.concatenate(right).mean())
    hardest = hardest_rows(partly)
    shares = sorted(np.mean(row) for row in right if row and not all(row))
    assert len(hardest) == min(len(shares), 8)
    for row, share in zip(hardest, shares, strict=False):
        assert np.mean([shown.right for shown in row.neighbors if shown.right is not None]) == share
    assert right_share(dataclasses.replace(seen, labels=np.full(60, -1))) is None


def test_a_damaged_file_of_observations_is_told(tmp_path):
    observed(10).save(str(tmp_path))
    (path,) = tmp_path.iterdir()
    whole, refused = path.read_bytes(), 0
    for place in range(0, len(whole), max(len(whole) // 200, 1)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            Observations.load(str(tmp_path))
        except DamagedObservations:
            refused += 1
    assert refused > 100


def test_confusion():
    seen = observed(60)
    confusion = confusion_of(seen)
    assert confusion is not None and confusion.by == "the classifier"
    assert confusion.counts.sum() == 60 and confusion.counts.sum(axis=1).tolist() == [6] * 10
    assert confusion.accuracy == pytest.approx((seen.labels == seen.predictions).mean())
    true, taken, count, of = confusion.commonest()[0]
    wrong = confusion.counts * (1 - np.eye(10, dtype=int))
    assert count == wrong.max() and of == 6 and true != taken
    without = dataclasses.replace(seen, predictions=np.full(60, -1))
    by_votes = confusion_of(without)
    assert by_votes is not None and by_votes.accuracy == pytest.approx((seen.labels == seen.votes).mean())


def test_images_without_a_label_are_in_no_confusion():
    seen = observed(60)
    known = np.arange(60) % 3 > 0
    half = dataclasses.replace(seen, labels=np.where(known, seen.labels, -1))
    confusion = confusion_of(half)
    assert confusion is not None and confusion.counts.sum() == known.sum()
    assert confusion.accuracy == pytest.approx((seen.labels == seen.predictions)[known].mean())
    assert confusion_of(dataclasses.replace(seen, labels=np.full(60, -1))) is None
