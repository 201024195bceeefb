"""Times as people write them, and how much of one is left."""

import pytest

from tf_simclrv2 import ConfigError
from tf_simclrv2.auto.budget import Clock, duration, in_minutes, seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2h", 7200),
        ("90m", 5400),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("1d", 86400),
        (" 10M ", 600),
        ("600s", 600),
    ],
)
def test_times_are_read(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "two hours", "-2h", "2h 3", "1:30", "nan", "infh"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ConfigError, match="write a time such as 90m, 2h"):
        seconds_of(text)


@pytest.mark.parametrize("text", ["0m", "0h0m", "90s"])
def test_too_short_a_time_is_refused(text):
    with pytest.raises(ConfigError, match="allow 10m or more"):
        seconds_of(text)


def test_what_was_used_before_counts():
    clock = Clock(600.0, used_s=450.0)
    assert 149.0 < clock.left_s <= 150.0
    assert clock.used_s == pytest.approx(450.0, abs=1.0)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(40, "40 s"), (89.4, "89 s"), (120, "2 min"), (5340, "89 min"), (7500, "2 h 5 min")],
)
def test_durations_are_said_as_people_do(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(("seconds", "words"), [(61, "2m"), (120, "2m"), (3601, "61m")])
def test_a_budget_in_minutes_holds_the_seconds(seconds, words):
    assert in_minutes(seconds) == words and seconds_of(words) >= seconds
