"""Pages of made-up runs: what is shown, what is told to be missing, and what is refused."""

import dataclasses
import json
import pathlib
import re
import runpy
import sys
import urllib.parse

import numpy as np
import pytest
import tensorflow as tf

from tests.report.made_up_runs import CLASSES, LAST_STEP, made_up_run, observed
from tests.report.parsed_page import ParsedPage
from tf_simclrv2 import ConfigError
from tf_simclrv2.report.build import write_comparison, write_report
from tf_simclrv2.report.classifiers import classifiers_of
from tf_simclrv2.report.confusion import confusion_of
from tf_simclrv2.report.headline import headlines
from tf_simclrv2.report.label_efficiency import label_efficiency
from tf_simclrv2.report.neighbors import hardest_rows, right_share, some_rows
from tf_simclrv2.report.observations import DamagedObservations, Observations
from tf_simclrv2.report.pictures import Pictures
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


def test_the_best_checkpoint_and_an_early_end_are_shown(tmp_path):
    run = made_up_run(tmp_path / "run")
    assert "best checkpoint" not in page_of(run).text
    best = {"step": 40, "metric": "knn", "value": 0.875, "split": "train[90%:]", "images": 2000}
    (run / "best").mkdir()
    (run / "best" / "best.json").write_text(json.dumps(best))
    stopped = {"step": LAST_STEP, "patience": 3}
    (run / "validation.json").write_text(json.dumps({"stopped_early": stopped, "measurements": []}))
    with tf.summary.create_file_writer(str(run), filename_suffix=".validation").as_default():
        for step, value in ((40, 0.875), (90, 0.8)):
            tf.summary.scalar("validation/knn_top_1_accuracy", value, step=step)
    page = page_of(run)
    assert "87.5% best checkpoint step 40, by knn on 2,000 images of train[90%:]" in page.text
    assert "step 90 stopped early after 3 measurement(s) without a better checkpoint" in page.text
    descriptions = " ".join(svg["aria-label"] or "" for svg in page.all("svg"))
    assert "20 neighbors, validation goes from 87.5% at step 40 to 80.0% at step 90" in descriptions
    (run / "validation.json").write_text(json.dumps({"stopped_early": {**stopped, "step": LAST_STEP - 1}}))
    assert "stopped early" not in page_of(run).text, "it went on from there"


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
    (top_1,) = [row for row in page.rows["numbers"] if row[0] == "top-1"]
    for cell, accuracy in zip(top_1[1:], ("30.0%", "50.0%", "90.0%"), strict=True):
        assert cell.startswith(f"{accuracy} the network's classifier; balanced")
        assert "linear probe before fine-tuning 70.0" in cell and "commonest class 44.0" in cell
    assert "data.dataset" not in page.text
    efficiency = label_efficiency(map(read_run, map(str, runs)))
    assert efficiency["supervised"] == {50.0: 0.3, 500.0: 0.5, 5000.0: 0.9}


def test_probes_of_different_networks_are_different_lines(tmp_path):
    """One that was fine-tuned has learned the labels that its probe learns."""
    runs = [
        made_up_run(tmp_path / f"{stage}_{part}", 12, stage, label_fraction=part, accuracy=0.5)
        for stage in ("pretrain", "finetune")
        for part in (0.1, 1.0)
    ]
    alone = [label_efficiency(map(read_run, map(str, of_stage))) for of_stage in (runs[:2], runs[2:])]
    assert "linear probe of h" in alone[0] and "linear probe of h, fine-tuned" in alone[1]
    assert label_efficiency(map(read_run, map(str, runs))) == alone[0] | alone[1]


def test_a_probe_of_some_labels_stands_where_it_learned_them(tmp_path):
    """With `--labels_from`, pretraining sees more images than a classifier sees labels."""
    run = made_up_run(tmp_path / "run", 12, "pretrain")
    before = label_efficiency([read_run(str(run))])
    dataclasses.replace(observed(12), train_labels=530).save(str(run))
    after = label_efficiency([read_run(str(run))])
    probes = [name for name in before if name.startswith("linear probe")]
    assert probes
    for name in probes:
        assert 5000.0 in before[name] and 5000.0 not in after[name]
        assert after[name][53.0] == before[name][5000.0]


def test_what_was_seen_survives_its_file(tmp_path):
    before = observed(50)
    before.save(str(tmp_path))
    after = Observations.load(str(tmp_path))
    assert after is not None
    for field in dataclasses.fields(before):
        there, here = getattr(before, field.name), getattr(after, field.name)
        if field.name == "duplicates":
            for before_, after_ in zip(there, here, strict=True):
                assert before_.plain() == after_.plain() and before_.pairs == after_.pairs
                np.testing.assert_array_equal(before_.images, after_.images)
        elif field.name == "images":
            assert np.abs(there.astype(float) - here).mean() < 12  # WebP smooths the noise.
        else:
            np.testing.assert_array_equal(there, here)


def test_neighbors_are_marked_by_their_labels():
    seen = observed(60)
    right = seen.labels[seen.neighbors] == seen.labels[:, np.newaxis]
    assert right_share(seen) == pytest.approx(right.mean())
    hardest = hardest_rows(seen, Pictures(""))
    assert sum(shown.right is True for shown in hardest[0].neighbors) == right.sum(axis=1).min()
    for row in [*hardest, *some_rows(seen, Pictures(""))]:
        for shown in row.neighbors:
            assert shown.alt.endswith(", right" if shown.right else ", wrong")


def test_neighbors_of_a_split_that_is_labeled_in_part():
    seen = observed(60)
    labels = np.where(np.arange(60) % 4 == 0, seen.labels, -1)
    right = [
        [labels[other] == labels[query] for other in seen.neighbors[query] if labels[other] >= 0]
        for query in range(0, 60, 4)
    ]
    partly = dataclasses.replace(seen, labels=labels)
    assert right_share(partly) == pytest.approx(np.concatenate(right).mean())
    hardest = hardest_rows(partly, Pictures(""))
    shares = sorted(np.mean(row) for row in right if row and not all(row))
    assert len(hardest) == min(len(shares), 8)
    for row, share in zip(hardest, shares, strict=False):
        assert np.mean([shown.right for shown in row.neighbors if shown.right is not None]) == share
    assert right_share(dataclasses.replace(seen, labels=np.full(60, -1))) is None


def parts_of(seen: Observations) -> dict[str, object]:
    """All that they hold, in arrays and plain values."""
    duplicates = {"duplicates": [(found.plain(), found.images) for found in seen.duplicates]}
    return {field.name: getattr(seen, field.name) for field in dataclasses.fields(seen)} | duplicates


def test_a_damaged_file_of_observations_is_told(tmp_path):
    observed(10).save(str(tmp_path))
    (path,) = tmp_path.iterdir()
    sound = Observations.load(str(tmp_path))  # Its thumbnails are compressed.
    whole, refused = path.read_bytes(), 0
    for place in range(0, len(whole), max(len(whole) // 200, 1)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            found = Observations.load(str(tmp_path))
        except DamagedObservations:
            refused += 1
        else:  # A byte that holds nothing of them, such as the time of a file in the archive.
            np.testing.assert_equal(parts_of(found), parts_of(sound))
    assert refused > 100


def section(page: ParsedPage, name: str, head: str) -> list[list[str]]:
    """The rows of the table in a section whose head begins with a word, up to the next head."""
    rows = page.rows[name]
    start = next(i for i, row in enumerate(rows) if row[0] == head)
    width = len(rows[start])
    end = next((i for i in range(start + 1, len(rows)) if len(rows[i]) != width), len(rows))
    return rows[start:end]


def test_every_accuracy_stands_beside_its_baselines(tmp_path):
    page = page_of(made_up_run(tmp_path / "run"))
    head, *rows = section(page, "accuracy", "classifier")
    assert head == ["classifier", "top-1", "random weights", "raw pixels", "commonest class"]
    table = {row[0]: row[1:] for row in rows}
    assert list(table) == [
        "linear probe top-1, all labels, of h",
        "top-1 the network's classifier",
        "linear probe, 7 labels per class top-1, of h",
    ]
    chance = f"balanced {100 / 9:.1f}"
    assert table["linear probe top-1, all labels, of h"] == [
        "80.0 balanced 71.0",
        "57.2 balanced 55.0 2,000 of 50,000 training images",
        "49.3 2,000 of 50,000 training images",
        f"44.0 {chance}",
    ]
    # Not measured with so few labels, but the commonest class is what it is.
    assert table["linear probe, 7 labels per class top-1, of h"] == ["60.0", "", "", f"44.0 {chance}"]
    assert (
        "80.0% linear probe top-1, all labels, of h; balanced 71.0% random weights 57.2, raw pixels 49.3, "
        "commonest class 44.0 (probes of 2,000 of 50,000 training images)"
    ) in page.text
    assert "99.0% top-5 the network's classifier five commonest classes 72.0" in page.text


def test_five_classes_have_no_top_5(tmp_path):
    """Every answer would be right."""
    run = made_up_run(tmp_path / "run")
    result = json.loads((run / "result.json").read_text())
    result["eval/images_per_class"] = dict.fromkeys(CLASSES[:5], 9)
    (run / "result.json").write_text(json.dumps(result))
    assert "top-5" not in page_of(run).text


def test_a_fine_tuned_classifier_stands_beside_a_linear_probe(tmp_path):
    page = page_of(made_up_run(tmp_path / "run", train_mode="finetune", accuracy=0.9))
    head, best, probe, *_ = section(page, "accuracy", "classifier")
    assert head[2] == "linear probe before fine-tuning"
    assert best[:2] == ["top-1 the network's classifier", "90.0 balanced 80.0"]
    assert best[2].startswith("70.0") and probe[2] == ""


def test_what_the_evaluation_measured_goes_before_what_the_report_did(tmp_path):
    run = made_up_run(tmp_path / "run")
    result = json.loads((run / "result.json").read_text())
    result["linear/random_encoder/top_1_accuracy"] = 0.61
    (run / "result.json").write_text(json.dumps(result))
    found = {c.key: {b.name: b.top_1 for b in c.baselines} for c in classifiers_of(read_run(str(run)))}
    assert found["eval"] == {"random weights": 0.61, "raw pixels": 0.493, "commonest class": 0.44}


def test_a_run_evaluated_by_an_earlier_version(tmp_path):
    """It has no baselines and no accuracies by class; the report knows the commonest of its images."""
    run = made_up_run(tmp_path / "run")
    (run / "baselines.json").unlink()
    (run / "result.json").write_text(json.dumps({"global_step": 9, "eval/label_top_1_accuracy": 0.5}))
    seen = observed(60)
    first = dataclasses.replace(
        seen, labels=np.where(np.arange(60) < 12, 0, seen.labels), names=(), duplicates=()
    )
    first.save(str(run))
    page = page_of(run)
    share = 100 * np.mean(first.labels == 0)
    assert section(page, "accuracy", "classifier")[1:] == [
        ["top-1 the network's classifier", "50.0", f"{share:.1f}"]
    ]
    assert "The names of the images are not known" in page.text


def test_accuracy_by_class_is_of_the_best_classifier(tmp_path):
    rows = section(page_of(made_up_run(tmp_path / "run")), "accuracy", "class")
    assert rows[0] == ["class", "accuracy", "images"]
    assert rows[1] == ["class I", "20.0%", "7"] and rows[-1] == ["class A", "100.0%", "44"]
    assert len(rows) == 10 and not any("class J" in row for row in rows)


@pytest.mark.parametrize("train_mode", ["pretrain", "finetune"])
def test_the_loss_is_that_of_the_objective(tmp_path, train_mode):
    """Not the sum with the loss of the online classifier, nor with the weight decay."""
    run = made_up_run(tmp_path / "run", images=12, train_mode=train_mode)
    found = {headline.label: headline.value for headline in headlines(read_run(str(run)))}
    assert "loss" not in found
    if train_mode == "pretrain":
        assert found["contrastive loss"] == "5.000"
    else:
        assert found["classifier loss"] == "1.300"


def test_every_picture_tells_its_file(tmp_path):
    """In its text alternative, where a pointer rests on it, and in a table to copy."""
    run = made_up_run(tmp_path / "run")
    seen = Observations.load(str(run))
    assert seen is not None
    page = page_of(run)
    names = {
        "neighbors": seen.names,
        "views": seen.view_names,
        "duplicates": ("class A/0000.png", "training/copy.png"),
    }
    for place, known in names.items():
        cells = {cell for row in page.rows[place] for cell in row}
        assert page.pictures[place]
        for picture in page.pictures[place]:
            (name,) = [name for name in known if name in (picture["alt"] or "")]
            assert (picture["title"] or "").startswith(name) and name in cells
    listed = page.rows["files"]
    assert listed[0] == ["image", "class", "predicted", "neighbors' vote"] and len(listed) == 61
    for row, name, *labels in zip(
        listed[1:], seen.names, seen.labels, seen.predictions, seen.votes, strict=True
    ):
        assert row == [name, *(seen.class_names[label] for label in labels)]
    titles = re.findall(r"<title>([^<]*)</title></rect>", (run / "report.html").read_text())
    assert titles and {title.split(", ")[0] for title in titles} <= set(seen.names)


def test_pictures_link_to_files_that_the_page_can_reach(tmp_path):
    folder = tmp_path / "my pictures"
    run = made_up_run(tmp_path / "runs" / "run", images=12)
    seen = dataclasses.replace(observed(12), folder=str(folder))
    seen.save(str(run))
    there = seen.names[:6]
    for name in there:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"a picture")
    for output in (run / "report.html", tmp_path / "elsewhere.html"):
        page = ParsedPage(pathlib.Path(write_report(str(run), str(output))))
        linked = set()
        for picture in page.pictures["neighbors"]:
            (name,) = [name for name in seen.names if name in (picture["alt"] or "")]
            assert ("href" in picture) == (name in there)
            if name in there:
                target = output.parent / urllib.parse.unquote(picture["href"] or "")
                assert target.resolve() == (folder / name).resolve()
                linked.add(name)
        assert linked


def test_near_duplicates_are_named(tmp_path):
    page = page_of(made_up_run(tmp_path / "run"))
    assert "Between test and train 1 pair among 60 and 2,000 of 50,000 images" in page.text
    assert "besides, 3 of the files are in both splits." in page.text
    assert "Within train 0 pairs among 60 images." in page.text
    assert ["0.9987", "class A/0000.png", "training/copy.png"] in page.rows["duplicates"]
    assert "the median cosine of different images" not in page.text


def test_a_network_that_finds_all_alike_is_told(tmp_path):
    run = made_up_run(tmp_path / "run")
    seen = observed(60)
    dataclasses.replace(seen, numbers={**seen.numbers, "median_cosine_of_h": 0.97}).save(str(run))
    assert (
        "(the median cosine of different images is 0.97), so the pairs further down a list mean little"
        in page_of(run).text
    )


def test_many_classes_have_their_commonest_confusions(tmp_path):
    """Of 30 classes a matrix would be too large; each class i is taken for the next one i times."""
    run = made_up_run(tmp_path / "run")
    triples = [[i, i, 40] for i in range(30)] + [[i, (i + 1) % 30, i] for i in range(1, 30)]
    names = tuple(f"kind {i}" for i in range(30))
    seen = dataclasses.replace(observed(60), class_names=names, confusions={"linear/final_avg_pool": triples})
    seen.save(str(run))
    page = page_of(run)
    rows = page.rows["confusion"]
    expected = [[f"kind {i}", f"kind {(i + 1) % 30}", f"{i} of {40 + i}"] for i in range(29, 14, -1)]
    assert rows == [["is", "taken for", "images"], *expected]
    assert "The 15 most common confusions" in page.text
    right, images = 30 * 40, 30 * 40 + sum(range(30))
    assert (
        f"The predictions of the linear probe for {images:,} images of cifar10/test; {right / images:.1%}"
        in page.text
    )


def test_the_confusion_is_of_the_best_classifier(tmp_path):
    record = read_run(str(made_up_run(tmp_path / "run")))
    seen, classifiers = record.observations, classifiers_of(record)
    assert seen is not None and classifiers[0].key == "linear/final_avg_pool"
    probe = dataclasses.replace(seen, confusions={"linear/final_avg_pool": [[0, 0, 3], [0, 2, 1], [2, 2, 4]]})
    confusion = confusion_of(probe, classifiers)
    assert confusion is not None and confusion.by == "the linear probe"
    assert confusion.names == ("class A", "class C") and confusion.counts.tolist() == [[3, 1], [0, 4]]
    assert confusion.accuracy == 7 / 8
    # Without its predictions it is of the next best whose predictions there are.
    own = confusion_of(seen, classifiers)
    assert own is not None and own.by == "the network's classifier"


def test_confusion():
    seen = observed(60)
    confusion = confusion_of(seen)
    assert confusion is not None and confusion.by == "the network's classifier"
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
