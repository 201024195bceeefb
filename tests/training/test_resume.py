"""A stage that was stopped and resumed ends bit for bit like one that was not."""

import pathlib
import subprocess
import sys


def test_every_stage_resumes_exactly(tmp_path):
    program = pathlib.Path(__file__).with_name("resume_stages.py")
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
