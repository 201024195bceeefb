"""Files of results: nothing is lost, mixed or repeated."""

import dataclasses
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from benchmarks.measuring.results_file import ResultsFile, claim_folder


@dataclasses.dataclass(frozen=True)
class Settings:
    epochs: int = 2
    seeds: tuple[int, ...] = (0, 1)


def test_results_are_read_as_they_were_added(tmp_path):
    path = tmp_path / "measured" / "results.json"
    ResultsFile.open(path, Settings()).add("one", {"top_1": 0.5})
    found = ResultsFile.read(path, Settings)
    assert (found.settings, found.results) == (Settings(), {"one": {"top_1": 0.5}})
    assert ResultsFile.open(path, Settings()) == found


def test_two_programs_add_to_one_file(tmp_path):
    first, second = (ResultsFile.open(tmp_path / "results.json", Settings()) for _ in range(2))
    first.add("one", 1)
    second.add("two", 2)
    assert second.results == {"one": 1, "two": 2}


def test_threads_lose_nothing(tmp_path):
    file = ResultsFile.open(tmp_path / "results.json", Settings())
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: file.add(str(number), number), range(50)))
    assert len(ResultsFile.read(tmp_path / "results.json", Settings).results) == 50


def test_programs_lose_nothing(tmp_path):
    """Each reads the file, adds to it, and writes it."""
    path = tmp_path / "results.json"
    with ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(_add, [path] * 4, range(4)))
    assert len(ResultsFile.read(path, Settings).results) == 4 * 25


def _add(path, part):
    file = ResultsFile.open(path, Settings())
    for number in range(25):
        file.add(f"{part}/{number}", number)


def test_a_file_that_has_become_one_of_other_settings_is_left_alone(tmp_path):
    path = tmp_path / "results.json"
    before = ResultsFile.open(path, Settings())
    ResultsFile.open(path, Settings(epochs=3)).add("one", 1)
    with pytest.raises(SystemExit, match="other settings"):
        before.add("two", 2)
    assert ResultsFile.read(path, Settings).results == {"one": 1}


def test_a_file_of_other_settings_is_refused(tmp_path):
    ResultsFile.open(tmp_path / "results.json", Settings()).add("one", 1)
    with pytest.raises(SystemExit, match=r"other settings \(epochs\); give another --results"):
        ResultsFile.open(tmp_path / "results.json", Settings(epochs=3))


def test_a_folder_keeps_its_settings(tmp_path):
    claim_folder(tmp_path / "folder", Settings())
    claim_folder(tmp_path / "folder", Settings())
    assert json.loads((tmp_path / "folder" / "settings.json").read_text()) == {"epochs": 2, "seeds": [0, 1]}
    with pytest.raises(SystemExit, match=r"other settings \(epochs, seeds\); give another --output"):
        claim_folder(tmp_path / "folder", Settings(epochs=3, seeds=(0,)))
