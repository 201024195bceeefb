"""The network that a budget allows, found by trials of machines that are made up."""

import dataclasses
import math

import pytest

from tf_simclrv2.auto.choices import Candidate
from tf_simclrv2.auto.commands import Choices
from tf_simclrv2.auto.schedule import Measured
from tf_simclrv2.auto.trials import Trial, choose_network
from tf_simclrv2.errors import RunError

IMAGES = 5_000  # Wants 60 epochs.


@dataclasses.dataclass
class MadeUpMachine:
    """Computes a picture in a time in proportion to the network's cost."""

    seconds_per_cost: float
    accelerated: bool = False
    memory: float = math.inf
    gain: float = 1.0
    asked: list[Choices] = dataclasses.field(default_factory=list)

    def __call__(self, asked: Choices) -> Trial:
        self.asked.append(asked)
        cost = Candidate(asked.image_size, asked.depth).cost
        if cost * asked.batch_size > self.memory:
            raise RunError(f"a trial of ResNet-{asked.depth} failed: out of memory.")
        measured = Measured(IMAGES, 20.0, self.seconds_per_cost * cost)
        return Trial(measured, self.accelerated, (9, 0) if self.accelerated else None, self.gain)


def found(machine, side=500.0, seconds=3600.0, patience=1e9, said=None):
    said = [] if said is None else said
    return choose_network(machine, IMAGES, side, lambda _: seconds, patience, said.append)


def test_a_slow_machine_gets_the_cheapest_network_and_what_epochs_it_can():
    machine = MadeUpMachine(seconds_per_cost=0.5)
    choices, measured = found(machine)
    assert (choices.depth, choices.image_size, len(machine.asked)) == (18, 64, 1)
    # 3600 s for 5,000 pictures of 0.5 · 0.149 s: nine epochs (of 78 whole batches of 64).
    assert choices.epochs == 9 and measured.image_s == pytest.approx(0.5 * 0.1486, rel=1e-3)


def test_a_fast_machine_gets_the_largest_that_sees_the_pictures_often_enough():
    machine = MadeUpMachine(seconds_per_cost=0.005)
    choices, _ = found(machine)
    assert (choices.depth, choices.image_size) == (50, 160)
    assert 60 <= choices.epochs <= 72
    assert len(machine.asked) == 2


def test_more_time_than_any_network_needs():
    choices, _ = found(MadeUpMachine(seconds_per_cost=1e-6))
    assert (choices.depth, choices.image_size, choices.epochs) == (50, 224, 400)


def test_an_accelerator_is_used_as_such():
    machine = MadeUpMachine(seconds_per_cost=0.001, accelerated=True)
    choices, _ = found(machine)
    assert (choices.precision, choices.batch_size) == ("mixed_bfloat16", 128)


@pytest.mark.parametrize(
    ("changes", "suited"),
    [
        ({"gain": 1.8}, ("mixed_bfloat16", 64)),
        ({"accelerated": True}, ("mixed_bfloat16", 128)),
        ({}, ("float32", 64)),
    ],
)
def test_the_cheapest_network_suits_the_device_too(changes, suited):
    """It was tried before the device was known, and is tried again."""
    machine = MadeUpMachine(seconds_per_cost=0.5, **changes)
    choices, _ = found(machine)
    assert (choices.depth, choices.image_size) == (18, 64)
    assert (choices.precision, choices.batch_size) == suited
    last = machine.asked[-1]
    assert (last.precision, last.batch_size) == suited and len(machine.asked) == 1 + bool(changes)


@pytest.mark.parametrize("accelerated", [False, True])
@pytest.mark.parametrize("memory", [20.0, 30.0, 60.0, 120.0])
def test_a_network_that_memory_is_too_small_for_is_not_taken(memory, accelerated):
    """The best that was measured is."""
    said: list[str] = []
    machine = MadeUpMachine(1e-6, accelerated, memory)
    choices, _ = found(machine, said=said)
    cost = Candidate(choices.image_size, choices.depth).cost
    assert cost * choices.batch_size <= memory
    assert said and all("failed: out of memory; " in line for line in said)


def test_no_network_that_fits_is_an_error():
    with pytest.raises(RunError, match="a trial of ResNet-18 failed: out of memory"):
        found(MadeUpMachine(1e-6, memory=1.0))


def test_patience_ends_the_search():
    machine = MadeUpMachine(seconds_per_cost=0.005)
    choices, _ = found(machine, patience=-1.0)
    assert len(machine.asked) == 1 and choices.image_size == 64


def test_the_time_for_what_follows_is_kept():
    machine = MadeUpMachine(seconds_per_cost=0.05)
    choices, _ = choose_network(
        machine, IMAGES, 8.0, lambda measured: 3600.0 - 100 * measured.start_s, 1e9, print
    )
    alone, _ = found(MadeUpMachine(seconds_per_cost=0.05), side=8.0)
    assert choices.epochs == pytest.approx(alone.epochs * 1600 / 3600, abs=1)
