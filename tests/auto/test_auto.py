"""A whole job: what it types, what it chooses, how it continues, and what it leaves."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.programs import ROOT, finished
from tf_simclrv2 import ConfigError
from tf_simclrv2.auto import auto as job
from tf_simclrv2.auto import schedule
from tf_simclrv2.auto.auto import auto
from tf_simclrv2.auto.auto_config import AutoConfig
from tf_simclrv2.auto.commands import Choices
from tf_simclrv2.auto.conductor import Conductor, Record
from tf_simclrv2.auto.schedule import Measured
from tf_simclrv2.data.labels_file import read_labels
from tf_simclrv2.directory_lock import directory_lock
from tf_simclrv2.errors import RunError
from tf_simclrv2.files import write_json

COLORS = {"red": (220, 40, 40), "blue": (40, 40, 220)}
CHOICES = Choices(image_size=8, depth=18, batch_size=32, precision="float32", epochs=10)


def write_pictures(folder, count: int, seed: int) -> list[tuple[str, str]]:
    """Pictures of one color and noise, in one folder; their names and colors."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    names = []
    for number in range(count):
        name = list(COLORS)[number % 2]
        noise = rng.integers(-30, 30, (8, 8, 3))
        pixels = np.clip(np.array(COLORS[name]) + noise, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
        names.append((f"{number:03}.png", name))
    return names


@pytest.fixture
def folder(tmp_path):
    """Forty pictures without classes in `train`, and twelve in two classes in `test`."""
    names = write_pictures(tmp_path / "pictures" / "train", 40, seed=0)
    for name, color in write_pictures(tmp_path / "pictures" / "flat", 12, seed=1):
        (tmp_path / "pictures" / "test" / color).mkdir(parents=True, exist_ok=True)
        os.rename(tmp_path / "pictures" / "flat" / name, tmp_path / "pictures" / "test" / color / name)
    for count in (2, 16):
        lines = [f"train/{name},{color}" for name, color in names[:count]]
        (tmp_path / f"{count}_labels.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    return tmp_path


class Rehearsed(Conductor):
    """Notes the stages and what each would have reached, and runs none; `unsaved` ones end with nothing."""

    reached: dict[str, float]
    unsaved: tuple[str, ...]

    def run(self, stage, spare_s=None, start_s=0.0):
        if self.done(stage.name) or stage.name in self.unsaved:
            return
        self._say(stage.text)
        if stage.name in self.reached:
            folder = os.path.join(os.path.dirname(self._record.path), stage.name)
            os.makedirs(folder)
            result = {"eval/label_top_1_accuracy": self.reached[stage.name]}
            write_json(os.path.join(folder, "result.json"), result)
        self._record.stages[stage.name] = {"seconds": 1.0, "whole": True, "command": stage.text}


@pytest.fixture
def rehearse(folder, monkeypatch):
    """Returns a function that does a job whose stages reach certain accuracies; it returns their names.

    The four labels that are held out of 16 are enough to compare by, unless `few`.
    """

    def do(
        labels: str | None,
        budget: str = "2h",
        unsaved: tuple[str, ...] = (),
        dry_run: bool = False,
        few: bool = False,
        **reached: float,
    ) -> tuple[list[str], str]:
        do.lines = lines = []
        monkeypatch.setattr(schedule, "FEWEST_TO_COMPARE", 5 if few else 4)
        monkeypatch.setattr(Rehearsed, "reached", reached, raising=False)
        monkeypatch.setattr(Rehearsed, "unsaved", unsaved, raising=False)
        monkeypatch.setattr(job, "Conductor", Rehearsed)
        monkeypatch.setattr(job, "choose_network", lambda *_: (CHOICES, Measured(40, 20.0, 0.01)))
        compared = str(folder / "job" / "compared.json")
        monkeypatch.setattr(job, "write_comparison", lambda paths, *_: write_json(compared, paths))
        path = labels and str(folder / labels)
        config = AutoConfig(str(folder / "pictures"), str(folder / "job"), budget, path, dry_run)
        last = auto(config, lines.append)
        record = json.loads((folder / "job" / "auto.json").read_text())
        return list(record["stages"]), last

    return do


LAYERS = {"layer_0": 0.75, "layer_1": 0.5, "layer_2": 1.0}


def test_the_best_layer_and_a_student_that_pays(rehearse, folder):
    names, last = rehearse("16_labels.csv", **LAYERS, finetuned=0.8, student=1.0, distilled=0.9)
    assert names == [
        *("pretrained", "layer_0", "layer_1", "layer_2"),
        *("finetuned", "student", "distilled", "model"),
    ]
    stages = json.loads((folder / "job" / "auto.json").read_text())["stages"]
    command = {name: shlex.split(stage["command"]) for name, stage in stages.items()}
    labels_from = f"--labels_from={folder}/job/data/"
    assert "--ft_proj_selector=2" in command["finetuned"]
    assert all(f"{labels_from}learn.csv" in command[name] for name in (*LAYERS, "student"))
    assert all(f"{labels_from}labeled.csv" in command[name] for name in ("finetuned", "distilled"))
    assert f"--teacher={folder}/job/layer_2" in command["student"]
    assert f"--teacher={folder}/job/finetuned" in command["distilled"]
    assert all("--ft_proj_selector=2" in command[name] for name in ("student", "distilled"))
    assert f"--model_dir={folder}/job/distilled" in command["model"]
    assert last.startswith("distilled in ") and "top-1 0.9000 on the test pictures" in last


def test_a_student_of_the_paper_s_layer_where_there_is_no_time_for_all_layers(rehearse, folder):
    """Its teacher on the held-out labels is fine-tuned for that."""
    names, last = rehearse("16_labels.csv", "270s", layer_1=0.5, finetuned=0.8, student=1.0, distilled=0.9)
    assert names == ["pretrained", "finetuned", "layer_1", "student", "distilled", "model"]
    assert last.startswith("distilled in ")


def test_few_held_out_labels_choose_nothing(rehearse, folder):
    """The paper's layer is distilled, and nothing else is trained."""
    names, last = rehearse("16_labels.csv", few=True, finetuned=0.8, distilled=0.75)
    assert names == ["pretrained", "finetuned", "distilled", "model"]
    stages = json.loads((folder / "job" / "auto.json").read_text())["stages"]
    assert all("--ft_proj_selector=1" in stages[name]["command"] for name in ("finetuned", "distilled"))
    assert all("labeled.csv" in stages[name]["command"] for name in names[:-1])
    assert last.startswith("distilled in ") and "top-1 0.7500 on the test pictures" in last


def test_without_test_pictures_few_held_out_labels_measure_the_layer(rehearse, folder):
    shutil.rmtree(folder / "pictures" / "test")
    names, last = rehearse("16_labels.csv", few=True, layer_1=0.5)
    assert names == ["pretrained", "layer_1", "finetuned", "distilled", "model"]
    assert "top-1 0.5000 on 4 held-out labels, before it was trained on them" in last


def test_planned_commands_are_those_that_run_where_nothing_is_chosen(rehearse, folder):
    shutil.rmtree(folder / "pictures" / "test")
    rehearse("16_labels.csv", few=True, dry_run=True)
    planned = [line for line in rehearse.lines if line.startswith("simclrv2 ")]
    assert planned
    rehearse("16_labels.csv", few=True, layer_1=0.5)
    assert [line for line in rehearse.lines if line.startswith("simclrv2 ")][: len(planned)] == planned


def test_a_student_that_does_not_pay(rehearse):
    names, last = rehearse("16_labels.csv", **LAYERS, finetuned=0.8, student=0.75)
    assert "distilled" not in names
    assert last.startswith("finetuned in ") and "top-1 0.8000" in last


def test_the_test_pictures_choose_nothing(rehearse, folder):
    rehearse("16_labels.csv", **LAYERS, finetuned=0.8, student=1.0, distilled=0.9)
    stages = json.loads((folder / "job" / "auto.json").read_text())["stages"]
    used = {name for name, stage in stages.items() if "--eval_split=test" in stage["command"]}
    assert used == {"pretrained", "finetuned", "distilled"}
    data = folder / "job" / "data"
    held_out = {path.resolve().name for path in (data / "choose").rglob("*.png")}
    learned = {os.path.basename(name) for name in read_labels(str(data / "learn.csv"))}
    assert len(held_out) == 4 and len(learned) == 12 and not held_out & learned
    assert len(read_labels(str(data / "labeled.csv"))) == 16


def test_without_test_pictures_the_held_out_labels_probe_what_was_pretrained(rehearse, folder):
    """From labels that are not among them."""
    shutil.rmtree(folder / "pictures" / "test")
    rehearse("16_labels.csv", **LAYERS, finetuned=0.8, student=0.5)
    stages = json.loads((folder / "job" / "auto.json").read_text())["stages"]
    words = shlex.split(stages["pretrained"]["command"])
    assert {"--eval_split=choose", "--eval_protocols=linear,knn"} <= set(words)
    assert f"--labels_from={folder}/job/data/learn.csv" in words


def test_too_short_a_budget_is_refused_before_anything_is_written(rehearse, folder):
    """With the least that is enough, which is then taken."""
    with pytest.raises(ConfigError, match=r"budget is '2m', but .* pass --budget=(\d+m) or more") as refused:
        rehearse("16_labels.csv", "2m")
    assert not (folder / "job").exists()
    least = re.findall(r"--budget=(\d+m)", str(refused.value))[0]
    names, _ = rehearse("16_labels.csv", least, finetuned=0.8)
    assert names[:2] == ["pretrained", "finetuned"] and names[-1] == "model"


def test_pretraining_without_a_checkpoint_ends_the_job_and_is_continued(rehearse):
    with pytest.raises(RunError, match=r"first checkpoint within 5m; type the same command with --budget="):
        rehearse("16_labels.csv", "5m", unsaved=("pretrained",))
    names, _ = rehearse("16_labels.csv", "1h", **LAYERS, finetuned=0.8, student=0.5)
    assert names[0] == "pretrained" and names[-1] == "model"


def test_a_network_that_was_not_fine_tuned_is_replaced_by_the_best_layer(rehearse, folder):
    names, last = rehearse("16_labels.csv", **LAYERS, unsaved=("finetuned",))
    assert names == ["pretrained", *LAYERS, "model"]
    assert last.startswith("layer_2 in ") and "top-1 1.0000 on 4 held-out labels" in last
    again, last = rehearse("16_labels.csv", "4h", **LAYERS, finetuned=0.8, student=0.5)
    assert again[-3:] == ["finetuned", "student", "model"] and last.startswith("finetuned in ")
    record = json.loads((folder / "job" / "auto.json").read_text())
    assert f"--model_dir={folder}/job/finetuned" in record["stages"]["model"]["command"]


def test_without_any_time_for_labels_there_is_an_encoder(rehearse):
    names, last = rehearse("2_labels.csv", unsaved=("finetuned",))
    assert names == ["pretrained", "model"] and "next: simclrv2 embed" in last


def test_a_rehearsal_makes_what_its_commands_read_and_the_job_goes_on(rehearse, folder):
    names, last = rehearse("16_labels.csv", dry_run=True)
    assert names == [] and last.startswith("nothing was trained")
    planned = [line for line in rehearse.lines if line.startswith("simclrv2 ")]
    for line in planned:
        paths = re.findall(r"--(?:data_dir|labels_from)=(\S+)", line)
        assert all(os.path.exists(path) for path in paths) and (len(paths) == 2 or "export" in line)
    (finetuned,) = [line for line in planned if "/finetuned " in line and "finetune " in line]
    assert finetuned.endswith("# layer 0 stands for the best of 0, 1, 2")
    before = json.loads((folder / "job" / "auto.json").read_text())["used_s"]
    names, _ = rehearse("16_labels.csv", **LAYERS, finetuned=0.8, student=0.5)
    assert names[-1] == "model"
    typed = [line for line in rehearse.lines if line.startswith("simclrv2 ")]
    assert {line.split("  #")[0] for line in planned[:4]} <= set(typed) and before > 0


def test_another_program_in_the_folder_is_not_disturbed(rehearse, folder):
    """Its stages read what the links of the job point to."""
    rehearse("16_labels.csv", dry_run=True)
    choose = folder / "job" / "data" / "choose"
    before = {path: os.lstat(path).st_ino for path in choose.rglob("*")}
    cure = "wait until that has ended, or choose another --output"
    with directory_lock(str(folder / "job"), "output", cure), pytest.raises(ConfigError, match=cure):
        rehearse("16_labels.csv", **LAYERS)
    assert {path: os.lstat(path).st_ino for path in choose.rglob("*")} == before


@pytest.mark.parametrize(
    "gpus, asked, said",
    [(1, (), False), (2, (), True), (2, ("--strategy=mirrored",), False), (2, ("--seed=3",), True)],
)
def test_a_few_labels_need_not_be_shared_by_several_gpus(folder, monkeypatch, gpus, asked, said):
    monkeypatch.setattr(job.tf.config, "list_physical_devices", lambda kind=None: ["a GPU"] * gpus)
    config = AutoConfig(str(folder / "pictures"), str(folder / "job"), flags=asked)
    pictures = job.look_at(config.data_dir)
    record = Record.open(config.folder, config.identity, print)
    flags = job._Job(config, record, pictures, print)._flags
    assert ("--strategy=one_device" in flags) == said and set(asked) <= set(flags)


def test_what_was_found_and_chosen_is_said_in_ten_lines_or_so(rehearse, folder):
    rehearse("16_labels.csv", dry_run=True)
    assert len(rehearse.lines) <= 12
    (network,) = [line for line in rehearse.lines if line.startswith("network: ")]
    assert "learning rate 0.424 (0.075·√32)" in network  # 0.075 · 5.657
    assert network.endswith(f"2h for all, in {folder}/job")


def test_a_job_without_an_output_is_named_after_its_pictures(tmp_path):
    assert AutoConfig(f"{tmp_path}/holiday/").folder == "runs/auto_holiday"
    assert AutoConfig("holiday", "elsewhere").folder == "elsewhere"


@pytest.mark.parametrize(
    ("flags", "ignored"),
    [
        ((), False),
        (("--ignore_empty_classes", "--seed=3"), True),
        (("--ignore_empty_classes=true",), True),
        (("-ignore_empty_classes=True",), True),
        (("--ignore_empty_classes=false",), False),
        (("--ignore_empty_classes", "--ignore_empty_classes=0"), False),
        (("--noignore_empty_classes",), False),
    ],
)
def test_empty_classes_are_ignored_if_the_trainings_ignore_them(flags, ignored):
    assert AutoConfig("pictures", flags=flags).ignores_empty_classes is ignored


@pytest.mark.parametrize(
    ("flags", "fraction"),
    [((), 0.01), (("--max_skipped_fraction=0.2", "--seed=3"), 0.2), (("--max_skipped_fraction=x",), 0.01)],
)
def test_as_many_pictures_may_be_unreadable_as_in_the_trainings(flags, fraction):
    assert AutoConfig("pictures", flags=flags).max_skipped_fraction == fraction


def test_a_larger_budget_distills_what_there_was_no_time_for(rehearse, folder):
    """And what has ended without distillation ends so again, whatever time is left."""
    rehearse("16_labels.csv", few=True, finetuned=0.8, distilled=0.75)
    path = str(folder / "job" / "auto.json")
    record = json.loads((folder / "job" / "auto.json").read_text())
    del record["stages"]["distilled"], record["stages"]["model"]
    write_json(path, {**record, "facts": {**record["facts"], "distills": False}})
    names, _ = rehearse("16_labels.csv", few=True)
    assert names == ["pretrained", "finetuned", "model"]
    shutil.rmtree(folder / "job" / "distilled")
    names, last = rehearse("16_labels.csv", "3h", few=True, distilled=0.75)
    assert names == ["pretrained", "finetuned", "distilled", "model"] and last.startswith("distilled in ")


def test_a_larger_budget_continues_what_was_cut_short(rehearse, folder):
    rehearse("16_labels.csv", few=True, finetuned=0.8, distilled=0.75)
    path = str(folder / "job" / "auto.json")
    record = json.loads((folder / "job" / "auto.json").read_text())
    record["stages"]["distilled"]["whole"] = False
    for name in ("ckpt-7.index", "ckpt-7.data-00000-of-00001"):
        (folder / "job" / "distilled" / name).touch()
    write_json(path, record)
    _, last = rehearse("16_labels.csv", few=True)
    assert last.startswith("finetuned in ")
    shutil.rmtree(folder / "job" / "distilled")
    _, last = rehearse("16_labels.csv", "3h", few=True, distilled=0.85)
    assert last.startswith("distilled in ")


def test_an_export_of_a_network_that_was_cut_short_is_replaced(rehearse, folder):
    """The command is the same, but not the network."""
    rehearse("16_labels.csv", unsaved=("distilled",), few=True, finetuned=0.8)
    record = json.loads((folder / "job" / "auto.json").read_text())
    assert list(record["stages"]) == ["pretrained", "finetuned", "model"]
    record["stages"]["finetuned"]["whole"] = False
    write_json(str(folder / "job" / "auto.json"), record)
    shutil.rmtree(folder / "job" / "finetuned")
    names, _ = rehearse("16_labels.csv", "3h", unsaved=("distilled",), few=True, finetuned=0.9)
    assert names == ["pretrained", "finetuned", "model"], "the export comes again, after what it exports"


def test_a_larger_budget_measures_what_there_was_no_time_for(rehearse, folder):
    shutil.rmtree(folder / "pictures" / "test")
    rehearse("16_labels.csv", few=True)
    record = json.loads((folder / "job" / "auto.json").read_text())
    del record["stages"]["layer_1"]
    facts = {**record["facts"], "measures": False}
    write_json(str(folder / "job" / "auto.json"), {**record, "facts": facts})
    names, _ = rehearse("16_labels.csv", few=True)
    assert "layer_1" not in names
    names, last = rehearse("16_labels.csv", "3h", few=True, layer_1=0.7)
    assert "layer_1" in names and "top-1 0.7000" in last


def test_the_same_pictures_by_another_path_are_the_same_job(rehearse, folder, monkeypatch):
    rehearse("16_labels.csv", few=True, finetuned=0.8, distilled=0.75)
    monkeypatch.chdir(folder)
    config = AutoConfig("pictures", "job", "2h", "16_labels.csv")
    assert auto(config, print).startswith("distilled in ")


def test_other_labels_are_another_job(rehearse, folder):
    rehearse("16_labels.csv", few=True, finetuned=0.8, distilled=0.75)
    rows = (folder / "16_labels.csv").read_text().splitlines()
    (folder / "16_labels.csv").write_text("\n".join(rows[:-1]) + "\n")
    with pytest.raises(ConfigError, match=r"pictures is '\d+ pictures with 15 labels \(.*with 16 labels"):
        rehearse("16_labels.csv", few=True)


def test_one_label_of_a_class_is_not_held_out(rehearse):
    names, _ = rehearse("2_labels.csv", finetuned=0.8)
    assert names == ["pretrained", "finetuned", "distilled", "model"]


def test_a_finished_job_ends_with_the_same_words(rehearse, folder):
    """Although hardly any time is left then."""
    first, before = rehearse("16_labels.csv", **LAYERS, finetuned=0.8, student=1.0, distilled=0.9)
    record = json.loads((folder / "job" / "auto.json").read_text())
    write_json(str(folder / "job" / "auto.json"), {**record, "used_s": 7190.0})
    again, after = rehearse("16_labels.csv")
    assert again == first
    assert after.split(" in ")[0] == before.split(" in ")[0] == "distilled"
    assert "top-1 0.9000 on the test pictures" in after


def test_the_report_leaves_out_what_was_removed_to_make_room(rehearse, folder):
    """After hours the job ended in an error."""
    names, _ = rehearse("16_labels.csv", **LAYERS, finetuned=0.8)
    kept = [str(folder / "job" / name) for name in names if name not in ("layer_0", "model")]
    for path in kept:
        os.makedirs(path, exist_ok=True)
        write_json(os.path.join(path, "config.json"), {})
    rehearse("16_labels.csv")
    assert json.loads((folder / "job" / "compared.json").read_text()) == kept


def test_without_labels_there_is_an_encoder(rehearse):
    names, last = rehearse(None)
    assert names == ["pretrained", "model"] and "next: simclrv2 embed" in last


def test_a_job_that_goes_on_repeats_nothing(rehearse, folder):
    first, _ = rehearse("16_labels.csv", **LAYERS, finetuned=0.8, student=0.75)
    before = json.loads((folder / "job" / "auto.json").read_text())
    again, _ = rehearse("16_labels.csv")
    after = json.loads((folder / "job" / "auto.json").read_text())
    assert again == first and after["stages"] == before["stages"]
    with pytest.raises(ConfigError, match=r"labels_from is None, but the job in .* began with"):
        rehearse(None)


@pytest.mark.parametrize(
    ("changes", "message"), [({"budget": "0m"}, "allow 10m"), ({"output": ""}, "pass --output")]
)
def test_impossible_jobs_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        AutoConfig(**{"data_dir": "pictures", "output": "job", **changes})


def test_a_home_directory_is_expanded_everywhere(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    config = AutoConfig("~/pictures", "~/job", labels_from="~/labels.csv")
    assert config.folder == "/home/me/job"
    assert config.identity["data_dir"] == "/home/me/pictures"
    assert config.identity["labels_from"] == "/home/me/labels.csv"


def test_a_job_among_its_pictures_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"output is '.*runs/job', which is among the pictures"):
        AutoConfig(str(tmp_path), str(tmp_path / "runs" / "job"))
    (tmp_path / "train").mkdir()
    AutoConfig(str(tmp_path), str(tmp_path / "runs" / "job"))


def command(folder, *words: str) -> list[str]:
    asked = (
        f"--data_dir={folder}/pictures",
        f"--output={folder}/job",
        f"--labels_from={folder}/2_labels.csv",
    )
    return [sys.executable, "-m", "tf_simclrv2", "auto", *asked, "--budget=20m", *words]


def test_a_job_in_small(folder):
    """One label of each class, and an epoch of everything."""
    short = ("--", "--train_epochs=1", "--seed=3")
    dry = finished(command(folder, "--dry_run", *short), 600)
    assert dry.returncode == 0, dry.stderr
    assert sorted(os.listdir(folder / "job")) == [".lock", "auto.json", "data"]
    promised = [line for line in dry.stdout.splitlines() if line.startswith("simclrv2 ")]
    assert [line.split()[1] for line in promised] == ["run", "run", "run", "export"]
    done = finished(command(folder, *short), 600)
    assert done.returncode == 0, done.stderr
    typed = [line for line in done.stdout.splitlines() if line.startswith("simclrv2 ")]
    assert promised == typed[:4] == typed[4:]
    assert all("--seed=3" in line for line in typed if " run " in line)
    last = done.stdout.splitlines()[-1]
    result = json.loads((folder / "job" / "distilled" / "result.json").read_text())
    probed = json.loads((folder / "job" / "pretrained" / "result.json").read_text())
    linear = probed["linear/final_avg_pool/top_1_accuracy"]
    assert f"linear classifier {100 * linear:.1f} %" in done.stdout
    assert f"top-1 {result['eval/label_top_1_accuracy']:.4f} on the test pictures" in last
    report = (folder / "job" / "report.html").read_text()
    assert f"linear classifier {100 * linear:.1f} %" in report
    assert "How the model was made" in report and "40 images without classes" in report
    (names,) = (folder / "job" / "model").rglob("labels.txt")  # In the folder of its version.
    assert names.read_text().split() == ["blue", "red"]
    again = subprocess.run(
        command(folder, *short), cwd=ROOT, capture_output=True, text=True, check=False, timeout=600
    )
    assert again.returncode == 0 and "images/s" not in again.stdout
