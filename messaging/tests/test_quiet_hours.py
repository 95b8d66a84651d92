"""Quiet hours: over midnight, where clocks change, and in several zones at once."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from messaging.rules.quiet_hours import QuietHours, QuietHoursError, quiet_at

MINUTE = timedelta(minutes=1)
NIGHT = QuietHours(time(21), time(8))
NOON = QuietHours(time(12), time(14))
BERLIN, NEW_YORK, LOS_ANGELES = (
    "Europe/Berlin",
    "America/New_York",
    "America/Los_Angeles",
)
# Also one that skips half an hour, one with quarters, and the two ends of the day.
ZONES = [
    BERLIN,
    NEW_YORK,
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
    "UTC",
]

clocks = st.times().map(lambda at: at.replace(second=0, microsecond=0))
spans = st.tuples(clocks, clocks).filter(lambda pair: pair[0] != pair[1])
hours_of_any_length = spans.map(lambda pair: QuietHours(*pair))
moments = st.integers(0, 4 * 365 * 24 * 60).map(
    lambda minutes: datetime(2024, 1, 1, tzinfo=UTC) + minutes * MINUTE
)
zones = st.sampled_from(ZONES)


def at(text, zone="UTC"):
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


def is_quiet(hours, moment, zone):
    return hours.cover(moment.astimezone(ZoneInfo(zone)).time())


def quiet(hours, now, *zones, home="UTC"):
    return quiet_at(hours, now, zones=zones, home=home)


@pytest.mark.parametrize(
    ("hours", "clock", "expected"),
    [
        (NIGHT, "20:59", False),
        (NIGHT, "21:00", True),
        (NIGHT, "00:00", True),
        (NIGHT, "07:59", True),
        (NIGHT, "08:00", False),
        (NOON, "11:59", False),
        (NOON, "12:00", True),
        (NOON, "14:00", False),
    ],
)
def test_the_beginning_is_quiet_and_the_end_is_not(hours, clock, expected):
    assert hours.cover(time.fromisoformat(clock)) == expected


@pytest.mark.parametrize("text", ["21:00-08:00", "21:00 - 8:00", " 21:00-08:00\n"])
def test_they_are_read_as_people_write_them(text):
    assert QuietHours.parse(text) == NIGHT
    assert str(NIGHT) == "21:00-08:00"


@pytest.mark.parametrize(
    "text",
    ["", "21-8", "21:00", "25:00-08:00", "21:60-08:00", "9pm-8am", "21:00-08:00x"],
)
def test_what_is_no_span_of_a_day_is_refused(text):
    with pytest.raises(QuietHoursError, match="not a span such as 21:00-08:00"):
        QuietHours.parse(text)


def test_hours_that_end_when_they_begin_are_refused():
    with pytest.raises(QuietHoursError, match="not end at the time"):
        QuietHours.parse("08:00-08:00")


def test_it_is_quiet_until_the_recipients_morning():
    evening = at("2026-11-24 22:30", LOS_ANGELES)

    found = quiet(NIGHT, evening, LOS_ANGELES)

    assert found.until == at("2026-11-25 08:00", LOS_ANGELES)
    assert str(found) == "Quiet hours until 08:00 in America/Los_Angeles."
    assert quiet(NIGHT, evening, "Asia/Tokyo") is None


@pytest.mark.parametrize(
    ("night", "hours_left"), [("2026-03-28", 9), ("2026-10-24", 11), ("2026-11-24", 10)]
)
def test_a_night_in_which_clocks_change_is_shorter_or_longer(night, hours_left):
    now = at(f"{night} 22:00", BERLIN)

    found = quiet(NIGHT, now, BERLIN)

    assert found.until - now.astimezone(UTC) == timedelta(hours=hours_left)


def test_an_end_that_clocks_skip_is_counted_from_before_they_do():
    hours = QuietHours(time(21), time(2, 30))

    found = quiet(hours, at("2026-03-28 22:00", BERLIN), BERLIN)

    assert found.until == at("2026-03-29 03:30", BERLIN)


def test_an_end_that_clocks_show_twice_comes_the_first_time():
    hours = QuietHours(time(21), time(2, 30))

    found = quiet(hours, at("2026-10-24 22:00", BERLIN), BERLIN)

    assert found.until == at("2026-10-25 00:30")


def test_of_several_zones_the_last_one_to_wake_counts():
    now = at("2026-11-25 07:30", NEW_YORK)

    found = quiet(NIGHT, now, NEW_YORK, LOS_ANGELES)

    assert str(found) == "Quiet hours until 08:00 in America/Los_Angeles."
    assert found.until == at("2026-11-25 11:00", NEW_YORK)


def test_without_a_zone_the_home_zone_stands_for_it():
    found = quiet(NIGHT, at("2026-11-25 03:00", BERLIN), home=BERLIN)

    assert (found.zone, found.until) == (BERLIN, at("2026-11-25 08:00", BERLIN))


def test_where_no_time_suits_all_zones_the_home_zone_stands_for_them():
    around_the_world = [f"Etc/GMT{offset:+d}" for offset in range(-12, 12)]

    assert quiet(NIGHT, at("2026-11-25 12:00"), *around_the_world) is None
    found = quiet(NIGHT, at("2026-11-25 22:00"), *around_the_world, home=BERLIN)
    assert found.zone == BERLIN


@given(hours=hours_of_any_length, now=moments, zone=zones)
@example(QuietHours(time(1, 45), time(1, 15)), at("2026-10-25 00:10"), BERLIN)
@example(QuietHours(time(3), time(2, 30)), at("2026-03-28 23:00"), BERLIN)
def test_it_ends_the_first_time_that_it_is_not_quiet(hours, now, zone):
    found = quiet(hours, now, zone)

    assert (found is not None) == is_quiet(hours, now, zone)
    assume(found is not None)
    assert now < found.until <= now + timedelta(days=2)
    assert not is_quiet(hours, found.until, zone)
    before = found.until - MINUTE
    assert before < now or is_quiet(hours, before, zone) or clocks_changed(before, zone)


def clocks_changed(moment, zone):
    """Whether clocks changed in the hours before, and may have skipped the end."""
    before = moment - timedelta(hours=2)
    return before.astimezone(ZoneInfo(zone)).utcoffset() != (
        moment.astimezone(ZoneInfo(zone)).utcoffset()
    )


@given(hours=hours_of_any_length, now=moments, some=st.sets(zones, min_size=1))
def test_at_the_end_it_is_quiet_nowhere_or_home_stands_for_all(hours, now, some):
    found = quiet(hours, now, *sorted(some))

    if found is None:
        assert not any(is_quiet(hours, now, zone) for zone in some) or (
            not is_quiet(hours, now, "UTC")
        )
    else:
        assert not any(is_quiet(hours, found.until, zone) for zone in some) or (
            found.zone == "UTC"
        )
