"""Several files of one result appear together or not at all."""

import pytest

from tf_simclrv2.embedding.outputs import Writers, write_outputs


def _stopped(directory: str) -> str:
    raise KeyboardInterrupt


def test_a_program_that_is_stopped_has_written_nothing(tmp_path):
    """As its message says."""
    writers = Writers(_stopped, lambda: [["path"]], {}, lambda: ["copy.png"])
    (tmp_path / "copies.txt").write_text("earlier\n")
    with pytest.raises(KeyboardInterrupt):
        write_outputs([str(tmp_path / "copies.txt"), str(tmp_path / "page.html")], writers, print)
    assert (tmp_path / "copies.txt").read_text() == "earlier\n"
    assert [path.name for path in tmp_path.iterdir()] == ["copies.txt"]
