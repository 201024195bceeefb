"""docs/examples/tutorial.ipynb, run by a kernel as a reader runs it."""

from __future__ import annotations

import re

import nbclient
import nbformat
import pytest

from tests.programs import ROOT

NOTEBOOK = ROOT / "docs" / "examples" / "tutorial.ipynb"
TIME_LIMIT = 600
CHANCE = 0.1
# Cells that show pictures, by a part of their text, and how many.
PICTURES = {
    "def show(": 1,
    "pretraining_batches(train": 1,
    "contrastive loss": 1,
    "nearest = ": 1,
    "confusion = ": 2,
    "save_module(network": 1,
}


def read() -> nbformat.NotebookNode:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    return notebook


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cell: nbformat.NotebookNode) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def cell_with(notebook: nbformat.NotebookNode, part: str) -> nbformat.NotebookNode:
    (cell,) = [cell for cell in code_cells(notebook) if part in cell.source]
    return cell


def test_it_is_kept_without_outputs() -> None:
    for cell in code_cells(read()):
        assert cell.outputs == [] and cell.execution_count is None


def test_its_links_lead_somewhere() -> None:
    text = "\n".join(cell.source for cell in read().cells if cell.cell_type == "markdown")
    links = re.findall(r"\]\((?!https?:)([^)#]*)", text)
    assert links and all((NOTEBOOK.parent / link).exists() for link in links)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    """The notebook with its outputs; a cell that fails is an error here."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = read()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("TMPDIR", str(folder))
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        client = nbclient.NotebookClient(
            notebook, timeout=TIME_LIMIT, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
        )
        client.execute()
    return notebook


def test_cells_show_their_pictures(executed: nbformat.NotebookNode) -> None:
    shown = {
        part: sum("image/png" in output.get("data", {}) for output in cell_with(executed, part).outputs)
        for part in PICTURES
    }
    assert shown == PICTURES
    total = sum(
        "image/png" in output.get("data", {}) for cell in code_cells(executed) for output in cell.outputs
    )
    assert total == sum(PICTURES.values())


def test_what_it_learns_is_far_above_chance(executed: nbformat.NotebookNode) -> None:
    """On two machines 0.91 by neighbors and 0.87 with five labels per class."""
    for part in ("Run(config)", "Run(few)"):
        text = printed(cell_with(executed, part))
        (accuracy,) = re.findall(r": (0\.\d{3}|1\.000); chance is 0\.1$", text, re.MULTILINE)
        assert float(accuracy) > 6 * CHANCE, text
    (share,) = re.findall(
        r"^(\d+)% of the eight nearest", printed(cell_with(executed, "nearest =")), re.MULTILINE
    )
    assert int(share) / 100 > 5 * CHANCE


def test_a_bar_for_each_work_and_no_more_lines(executed: nbformat.NotebookNode) -> None:
    for part, steps in (("Run(config)", 225), ("Run(few)", 41)):
        cell = cell_with(executed, part)
        bars = [output.data["text/plain"] for output in cell.outputs if output.output_type == "display_data"]
        (training,) = [bar for bar in bars if bar.startswith("step: ")]
        assert f"{steps}/{steps}" in training and "loss=" in training
        assert not re.search(r"^step \d+ of ", printed(cell), re.MULTILINE)


def test_the_export_names_the_digits(executed: nbformat.NotebookNode) -> None:
    """It is shown one of each, from 0 to 9."""
    (names,) = re.findall(r"^named: (.*)$", printed(cell_with(executed, "save_module(network")), re.MULTILINE)
    right = sum(name == str(digit) for digit, name in enumerate(names.split()))
    assert len(names.split()) == 10 and right > 6
