"""The comparison of learning with the peers: its judge, its pieces, its page, and ours as a contender."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from benchmarks.learning import ours as ours_module
from benchmarks.learning import page
from benchmarks.learning.judge import judge
from benchmarks.learning.ours import Ours
from benchmarks.learning.pieces import NEEDS, Measured, Program, key, measure_piece, programs, waiting
from benchmarks.learning.recording import record, resize_gray
from benchmarks.learning.settings import SCALES, SMALL, Settings
from benchmarks.learning_with_peers import measure, prepare
from benchmarks.measuring.measured_page import BEGIN, END
from tests.benchmarks.test_bench_published import CHECKOUT
from tf_simclrv2.directory_lock import directory_lock
from tf_simclrv2.errors import ConfigError

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEERS = ["lightly_zero", "lightly", "lightly_zero_no_bias"]
TINY = dataclasses.replace(
    SMALL,
    train_images=400,
    probe_images=300,
    test_images=100,
    image_size=8,
    epochs=2,
    measured=(0, 2),
    batch_size=40,
    seeds=(0, 1),
)
# A contender that knows the class of an image by its mean, but only after an epoch.
FAKE = """
import json, os, pathlib, sys
import numpy as np
folder, seed, output = pathlib.Path(sys.argv[1]), int(sys.argv[2]), pathlib.Path(sys.argv[3])
(folder / "cores.json").write_text(json.dumps(sorted(os.sched_getaffinity(0))))
if seed == 1:
    raise SystemExit("no memory")
labels = np.load(folder / "images.npz")
train, test = labels["train_labels"][:300], labels["test_labels"]
one_hot = lambda values: np.eye(10, dtype=np.float32)[values]
nothing = lambda values: np.ones([len(values), 10], np.float32)
for epoch, features in ((0, nothing), (2, one_hot)):
    np.savez(output / f"features_{epoch}.npz", train=features(train), test=features(test))
(output / "times.json").write_text(json.dumps({"0": 0.0, "2": 120.0}))
"""


@pytest.fixture
def folder(tmp_path):
    """What the contenders read, with random images of which each class has as many."""
    from benchmarks.measuring import fashion_mnist

    def read(split, source):
        count = {"train": 600, "test": 200}[split]
        images = np.random.default_rng(count).integers(0, 256, (count, 28, 28), np.uint8)
        return images, np.arange(count) % 10

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fashion_mnist, "read", read)
        patch.setattr("benchmarks.learning_with_peers.read", read)
        prepare(tmp_path / "learning", TINY, "debian")
    return tmp_path / "learning"


@pytest.fixture
def fake(tmp_path):
    (tmp_path / "fake.py").write_text(FAKE)
    return Program("ours", sys.executable, str(tmp_path / "fake.py"))


def piece(*values, machine="a machine"):
    rows = [
        {"epoch": epoch, "seconds": 60.0 * epoch, "linear": value, "neighbors": value - 0.1}
        for epoch, value in enumerate(values)
    ]
    return {"machine": machine, "versions": "none", "rows": rows}


def test_the_judge_knows_classes_from_noise():
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 4
    told = np.eye(4)[labels] + 0.1 * rng.standard_normal((200, 4))
    noise = rng.standard_normal((200, 4))
    for features, low, high in ((told, 0.99, 1.0), (noise, 0.1, 0.4)):
        found = judge({"train": features[:100], "test": features[100:]}, labels[:100], labels[100:])
        assert set(found) == {"linear", "neighbors"}
        assert all(low <= value <= high for value in found.values())


def test_every_contender_reads_the_same_images(folder):
    with np.load(folder / "images.npz") as file:
        train, labels, test = file["train_images"], file["train_labels"], file["test_images"]
    assert train.shape == (400, 28, 28) and test.shape == (100, 28, 28)
    files = {path: np.asarray(Image.open(path)) for path in (folder / "images" / "train").rglob("*.png")}
    assert {image.tobytes() for image in files.values()} == {image.tobytes() for image in train}
    assert set(labels[:60]) == set(range(10))  # Mixed: the probes see every class.


def test_images_are_seen_whole():
    gray = np.arange(28 * 28, dtype=np.uint32).reshape(1, 28, 28).astype(np.uint8)
    np.testing.assert_array_equal(resize_gray(gray, 28), np.repeat(gray[..., None], 3, -1))
    assert resize_gray(gray, 33).shape == (1, 33, 33, 3)


def test_a_piece_is_judged_and_leaves_nothing(folder, fake):
    before, after = measure_piece(fake, 0, folder, TINY)
    assert (before["epoch"], before["seconds"], after["epoch"], after["seconds"]) == (0, 0.0, 2, 120.0)
    assert before["linear"] < 0.2 and after["linear"] == after["neighbors"] == 1.0
    assert not (folder / "ours_0").exists()


def test_a_piece_that_another_program_measures_is_left_alone(folder, fake):
    (folder / "ours_0").mkdir()
    (folder / "ours_0" / "features_1.npz").touch()
    with (
        directory_lock(str(folder / "ours_0"), "piece", "wait"),
        pytest.raises(ConfigError, match="in use by"),
    ):
        measure_piece(fake, 0, folder, TINY)
    assert (folder / "ours_0" / "features_1.npz").exists()


def test_a_piece_that_fails_says_so_and_can_be_repeated(folder, fake):
    for _ in range(2):
        with pytest.raises(subprocess.CalledProcessError):
            measure_piece(fake, 1, folder, TINY)
        assert "no memory" in (folder / "ours_1" / "log.txt").read_text()


def test_what_was_measured_is_not_repeated(tmp_path, fake):
    measured = Measured.open(tmp_path / "learning.json", TINY)
    assert waiting([fake], measured, TINY.seeds) == [(fake, 0), (fake, 1)]
    measured.add(key("ours", 0), piece(0.1, 0.5))
    again = Measured.open(tmp_path / "learning.json", TINY)
    assert again == measured
    assert waiting([fake], again, TINY.seeds) == [(fake, 1)]


def test_more_seeds_leave_valid_what_was_measured(tmp_path, fake):
    measured = Measured.open(tmp_path / "learning.json", TINY)
    measured.add(key("ours", 0), piece(0.1, 0.5))
    more = dataclasses.replace(TINY, seeds=(0, 1, 2))
    again = Measured.open(tmp_path / "learning.json", more)
    assert waiting([fake], again, more.seeds) == [(fake, 1), (fake, 2)]
    again.add(key("ours", 2), piece(0.1, 0.6))
    found = Measured.read(tmp_path / "learning.json", Settings)
    assert found.settings.seeds == (0, 1, 2) and [*found.results] == ["ours/0", "ours/2"]
    with pytest.raises(SystemExit, match=r"other settings \(epochs\)"):
        Measured.open(tmp_path / "learning.json", dataclasses.replace(more, epochs=TINY.epochs + 1))


def test_pieces_run_on_cores_of_their_own(folder, fake, tmp_path, capsys):
    measured = Measured.open(tmp_path / "learning.json", TINY)
    cores = sorted(os.sched_getaffinity(0))[:1]
    measure(folder, measured, [(fake, 0)], cores)
    assert measured.results["ours/0"]["rows"][1]["linear"] > 0.9
    assert measured.results["ours/0"]["versions"].startswith("tensorflow 2.")
    assert "ours, seed 0: 2.0 minutes" in capsys.readouterr().out
    assert json.loads((folder / "cores.json").read_text()) == cores
    assert sorted(os.sched_getaffinity(0)) != cores or len(os.sched_getaffinity(0)) == 1


def test_who_is_not_installed_is_left_out_with_a_line(tmp_path, monkeypatch):
    ours, published, zero, lightly, no_bias = programs("tf2", str(tmp_path / "python"), sys.executable)
    assert ours.why_missing() is None
    assert str(published.why_missing()).startswith(
        f"published is left out: {tmp_path / 'python'} does not run"
    )
    monkeypatch.setitem(NEEDS, "lightly", ["json", "no_such_package"])
    assert lightly.why_missing() == f"lightly is left out: {sys.executable} lacks ['no_such_package']."
    assert [one.name for one in programs(None, "python", "python")] == ["ours", *PEERS]
    assert zero.command(tmp_path, 1, tmp_path)[-1] == "--zero_init_residual"
    assert lightly.command(tmp_path, 1, tmp_path) == zero.command(tmp_path, 1, tmp_path)[:-1]
    assert no_bias.command(tmp_path, 1, tmp_path)[:-1] == zero.command(tmp_path, 1, tmp_path)


# A peer that shows four batches of views.
PEER = """
import sys
sys.path.insert(0, {root!r})
import numpy as np
from benchmarks.learning.recording import write_views

class Peer:
    def __init__(self, settings, folder, seed):
        self.shape, self.seed = (2, settings.batch_size, settings.image_size, settings.image_size, 3), seed
    def views(self):
        rng = np.random.default_rng(self.seed)
        for _ in range(4):
            yield rng.integers(0, 256, self.shape, np.uint8)

assert sys.argv[3:] == ["", "--zero_init_residual", "--views"]
write_views(Peer)
"""


def test_ours_learns_from_the_views_of_a_peer(folder, tmp_path, monkeypatch):
    script = tmp_path / "peer.py"
    script.write_text(PEER.format(root=str(ROOT)))
    monkeypatch.setattr(ours_module, "PEER", script)
    ours = Ours(TINY, folder, 1, views_of=sys.executable)
    weights = [weight.numpy() for weight in ours._task.network.trainable_variables]
    rng = np.random.default_rng(1)
    for _ in range(2):
        expected = rng.integers(0, 256, (2, 40, 8, 8, 3), np.uint8)
        batch = next(ours._batches)
        for name, view in zip(("view_1", "view_2"), expected, strict=True):
            np.testing.assert_allclose(batch[name], view / 255.0, atol=1e-7)
    ours.train(2)  # The first has a rate of zero.
    after = ours._task.network.trainable_variables
    assert any(np.any(weight != now.numpy()) for weight, now in zip(weights, after, strict=True))
    with pytest.raises(EOFError, match="shows no more views"):
        ours.train(1)


def test_the_tables_and_the_minutes_between_two_epochs(tmp_path):
    measured = Measured(tmp_path / "learning.json", TINY)
    measured.add("ours/0", piece(0.1, 0.78, 0.82))
    measured.add("ours/1", piece(0.1, 0.79, 0.83))
    measured.add("lightly/0", piece(0.79, 0.7, 0.81, machine="another"))  # It began above some of the goals.
    lines = page.table(measured).splitlines()
    assert lines[2] == "| this package | 2 | 82.5 ± 0.7 | 72.5 ± 0.7 | 10.0 ± 0.0, 0.0 ± 0.0 | 60 |"
    assert lines[3] == "| lightly | 1 | 81.0 | 71.0 | 79.0, 69.0 | 60 |"
    # Of ours: half way, and a quarter of the way, from minute 1 to 2.
    assert page.times_table(measured).splitlines() == [
        "| seconds to a linear probe of | 65% | 70% | 72% | 74% | 76% | 78% | 80% | 82% |",
        "|---|---|---|---|---|---|---|---|---|",
        "| this package | 48 | 53 | 54 | 56 | 58 | 60 | 83 | 112 |",
        "| lightly | untrained | untrained | untrained | untrained | untrained | untrained | 115 | - |",
    ]
    assert page.measured_part(measured).startswith("Measured on a machine and on another. this package: none")
    lines = page.draw(measured).axes[0].get_lines()
    drawn = [line.get_ydata().tolist() for line in lines]
    np.testing.assert_allclose(drawn, [[10.0, 78.0, 82.0], [10.0, 79.0, 83.0], [79.0, 70.0, 81.0]])


def test_no_times_are_compared_where_nobody_beats_an_untrained_network(tmp_path):
    measured = Measured(tmp_path / "learning.json", TINY)
    measured.add("ours/0", piece(0.1, 0.3, 0.64))
    measured.add("lightly/0", piece(0.83, 0.7, 0.81))
    said = page.times_table(measured)
    assert "too short to compare times" in said and "65% or is above that of its own untrained" in said


def test_ours_learns_as_a_contender(folder, tmp_path):
    output = tmp_path / "ours"
    output.mkdir()
    record(Ours(TINY, folder, 0), TINY, folder / "images.npz", output)
    with np.load(output / "features_0.npz") as before, np.load(output / "features_2.npz") as after:
        assert before["train"].shape == (300, 512) and before["test"].shape == (100, 512)
        assert before["train"].dtype == np.float32
        assert not np.allclose(before["train"], after["train"])


# Each view is of one gray, which it draws in a branch, as the published program draws its color jitter.
GRAY_VIEWS = """
import tensorflow as tf

def preprocess_image(image, height, width, is_training, color_jitter_strength):
    gray = lambda: tf.fill([height, width, 3], tf.random.uniform([]))
    return tf.cond(tf.random.uniform([]) < 2.0, gray, lambda: tf.zeros([height, width, 3]))
"""
PRINT_GRAYS = """
import json, pathlib, sys
from benchmarks.learning.published_contender import Published
from benchmarks.learning.settings import Settings
contender = Published(Settings(train_images=400, batch_size=2, image_size=8), pathlib.Path(sys.argv[1]), 0)
print(json.dumps([next(contender._views).numpy()[:, 0, 0, [0, 3]].tolist() for _ in range(100)]))
"""


def test_the_published_programs_views_of_an_image_are_independent(folder, tmp_path):
    """They were not under a seed, from which both views' branches drew the same numbers."""
    for name, text in (CHECKOUT | {"data_util.py": GRAY_VIEWS}).items():
        (tmp_path / name).write_text(text)
    words = [sys.executable, "-c", PRINT_GRAYS, str(folder), "0", str(tmp_path), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    grays = np.array(json.loads(done.stdout)).reshape(-1, 2)
    assert abs(np.corrcoef(grays.T)[0, 1]) < 0.4  # Of 200 pairs: more than five deviations.


@pytest.mark.parametrize("settings", SCALES.values())
def test_scales_hold_together(settings):
    assert settings.measured[0] == 0 and settings.measured[-1] == settings.epochs
    assert settings.probe_images <= settings.train_images
    assert settings.learning_rate == pytest.approx(0.075 * settings.batch_size**0.5, rel=0.01)


def test_the_page_shows_the_committed_results():
    """Whoever adds results also types `learning_with_peers.py --docs`."""
    measured = Measured.open(ROOT / "docs" / "measured" / "learning_small.json", SMALL)
    text = (ROOT / "docs" / "learning.md").read_text()
    assert f"{BEGIN}\n\n{page.measured_part(measured)}\n\n{END}" in text
