"""A training whose data service is killed ends soon, keeps its checkpoint and continues from there."""

import re
import time

import pytest

from tests.data.services import serving
from tests.programs import SMALL_PROGRAM, SMALL_RUN, start, wait_for_step
from tf_simclrv2.training.model_dir.verified_checkpoints import checkpoint_steps, survey_checkpoints

STEPS, PATIENCE = 10_000, 120
# A chunk is waited for 10 s before the service is looked for.
BOUND = 60
FLAGS = [
    *SMALL_PROGRAM,
    "run",
    *SMALL_RUN,
    "--mode=train",
    "--train_mode=supervised",
    "--strategy=one_device",
    "--checkpoint_steps=2",
]


@pytest.fixture(scope="module")
def lost(tmp_path_factory):
    """A training whose service was killed: its directory, exit code, lines and the seconds that took."""
    root = tmp_path_factory.mktemp("lost_service")
    directory, log = root / "run", root / "run.log"
    with serving(root) as (service,):
        command = [*FLAGS, f"--model_dir={directory}", f"--train_steps={STEPS}"]
        training = start([*command, f"--tf_data_service={service.address}"], log)
        try:
            wait_for_step(directory, 4, [training], [log], PATIENCE)
            service.process.kill()
            since = time.monotonic()
            code = training.wait(PATIENCE)
            return directory, code, log.read_text(), time.monotonic() - since
        finally:
            training.kill()


def test_it_ends_soon_with_one_sentence(lost):
    directory, code, said, seconds = lost
    assert code == 1 and seconds < BOUND, said
    sentence = r"error: the data service at localhost:\d+ .* to resume from ckpt-(\d+)\.$"
    assert int(re.search(sentence, said, re.MULTILINE)[1]) == checkpoint_steps(str(directory))[0]
    assert "Traceback" not in said


def test_it_goes_on_from_a_whole_checkpoint_without_the_service(lost, tmp_path):
    directory = lost[0]
    step = checkpoint_steps(str(directory))[0]
    survey = survey_checkpoints(str(directory))
    assert survey.whole.endswith(f"ckpt-{step}") and not survey.damaged
    log = tmp_path / "again.log"
    again = start([*FLAGS, f"--model_dir={directory}", f"--train_steps={step + 2}"], log)
    try:
        assert again.wait(PATIENCE) == 0, log.read_text()
    finally:
        again.kill()
    assert f"resuming from step {step:,} of {step + 2:,}" in log.read_text()
    assert checkpoint_steps(str(directory))[0] == step + 2
