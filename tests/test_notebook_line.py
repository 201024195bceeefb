"""Progress in a notebook: one line for each work, in its own cell, that changes in place."""

from __future__ import annotations

import re
import sys
import types
from typing import Any

import nbclient
import nbformat
import pytest
from tqdm import tqdm

from tests.programs import ROOT
from tf_simclrv2 import notebook_line
from tf_simclrv2.notebook_line import NotebookLine, running_cell

CELLS = (
    """
import time
from tf_simclrv2 import progress
with progress.Progress("page", 20, progress.say_at_once) as pages:
    for page in range(20):
        time.sleep(0.2)
        pages.advance({"now": "reading"})
        if page % 10 == 0:
            print("page", page)
for item in progress.track(range(3), "quick", progress.say_at_once):
    pass
""",
    # It begins while the thread of the first one may still be there.
    """
with progress.phase("binding", progress.say_at_once):
    time.sleep(3.5)
print("bound")
""",
)


class Publisher:
    """Notes what a notebook is told to show."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, str, bool]] = []

    def publish(self, data: dict[str, str], transient: dict[str, str], update: bool) -> None:
        self.shown.append((data["text/plain"], transient["display_id"], update))


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Publisher:
    """This process takes itself for the kernel of a notebook."""
    publisher = Publisher()
    shell = types.SimpleNamespace(kernel=object(), execution_count=7, display_pub=publisher)
    fake: Any = types.ModuleType("IPython")
    fake.get_ipython = lambda: shell
    monkeypatch.setitem(sys.modules, "IPython", fake)
    return publisher


def test_only_a_kernel_is_a_notebook(monkeypatch: pytest.MonkeyPatch, notebook: Publisher) -> None:
    assert running_cell() == 7
    terminal: Any = types.ModuleType("IPython")
    terminal.get_ipython = lambda: types.SimpleNamespace(execution_count=7)
    monkeypatch.setitem(sys.modules, "IPython", terminal)
    assert running_cell() is None
    monkeypatch.delitem(sys.modules, "IPython")
    assert running_cell() is None


def test_a_bar_is_one_line_that_changes(notebook: Publisher) -> None:
    with tqdm(total=4, file=NotebookLine(after=0.0), mininterval=0.0) as bar:
        for _ in range(4):
            bar.update()
    texts, names, updates = zip(*notebook.shown, strict=True)
    assert len(set(names)) == 1 and updates == (False, *[True] * (len(updates) - 1))
    assert re.match(r"100%\|█+\| 4/4 ", texts[-1]) and not any("\n" in text or "\r" in text for text in texts)


def test_short_work_is_not_shown_and_equal_lines_are_not_sent_again(
    notebook: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(notebook_line.time, "perf_counter", lambda: now[0])
    line = NotebookLine(after=2.0)
    for seconds, text in ((1.9, "\rone"), (0.2, "\rtwo"), (0.1, "\rtwo  "), (0.1, "\r   ")):
        now[0] += seconds
        line.write(text)
        line.flush()
    assert [text for text, _, _ in notebook.shown] == ["two"]


def test_a_kernel_shows_one_line_for_each_work_in_its_cell(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
    book = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(book, timeout=120, kernel_name="python3").execute()
    first, second = (
        [output.get("text") or output.data["text/plain"] for output in cell.outputs] for cell in book.cells
    )
    (bar,) = [text for text in first if text.startswith("page: ")]
    assert re.match(r"page: 100%\|█+\| 20/20 .*now=reading", bar)
    assert [text for text in first if text is not bar] == ["page 0\n", "page 10\n"]
    assert second[-1] == "bound\n" and re.fullmatch(r"binding: 0:00:0[23]", second[0]) and len(second) == 2
