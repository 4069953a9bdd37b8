"""The hours at which changes may begin: the week, midnight, daylight saving, what cannot be read, and the check that asks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from rightsizer.checks.chain import judge
from rightsizer.checks.facts import CheckFacts, Objection, Reason
from rightsizer.checks.timing import outside_window
from rightsizer.errors import InvalidProfile
from rightsizer.methods.recommendation import Clamp
from rightsizer.profile import ApplyRule, ChangeWindow, Profile, load_profile, next_opening, parse_profile
from rightsizer.workload import Container
from tests.unit.builders import MI, NOW, WIDE, WORKED, check_facts, explanation, recommendation, workload

PARIS = ZoneInfo("Europe/Paris")
WEEKDAYS = frozenset(range(5))
EVERY_DAY = frozenset(range(7))


def at(text: str) -> float:
    """UTC: `2025-11-20 12:00`, a Thursday."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def window(start: str, end: str, *, days: frozenset[int] = EVERY_DAY, zone: Any = UTC) -> ChangeWindow:
    minutes = [int(text[:2]) * 60 + int(text[3:]) for text in (start, end)]
    return ChangeWindow(days, minutes[0], minutes[1], zone)


OFFICE = window("09:00", "16:00", days=WEEKDAYS, zone=PARIS)
NIGHT = window("22:00", "04:00", days=frozenset({4}))
GAP = window("02:15", "02:45", zone=PARIS)


@pytest.mark.parametrize(
    ("asked", "now", "inside"),
    [
        (OFFICE, "2025-11-20 07:59", False),
        (OFFICE, "2025-11-20 08:00", True),
        (OFFICE, "2025-11-20 14:59", True),
        (OFFICE, "2025-11-20 15:00", False),
        (OFFICE, "2025-11-22 10:00", False),
        # In summer the same hours are an hour earlier.
        (OFFICE, "2025-07-17 07:00", True),
        (OFFICE, "2025-07-17 06:59", False),
        (OFFICE, "2025-07-17 14:00", False),
        (NIGHT, "2025-11-21 21:59", False),
        (NIGHT, "2025-11-21 22:00", True),
        (NIGHT, "2025-11-22 03:59", True),
        (NIGHT, "2025-11-22 04:00", False),
        (NIGHT, "2025-11-21 03:59", False),
        (NIGHT, "2025-11-22 22:00", False),
        (window("00:00", "24:00"), "2025-11-20 00:00", True),
        (window("00:00", "24:00"), "2025-11-20 23:59", True),
        # On 2025-03-30 the clock goes from 02:00 to 03:00 (01:00 UTC), on 2025-10-26 from 03:00 back to 02:00.
        (GAP, "2025-03-30 00:59", False),
        (GAP, "2025-03-30 01:00", False),
        (window("01:30", "03:15", zone=PARIS), "2025-03-30 01:10", True),
        (window("01:30", "03:15", zone=PARIS), "2025-03-30 01:15", False),
        (GAP, "2025-10-26 00:15", True),
        (GAP, "2025-10-26 00:45", False),
        (GAP, "2025-10-26 01:15", True),
        (GAP, "2025-10-26 01:45", False),
        (ChangeWindow(frozenset(), 0, 1440), "2025-11-20 12:00", False),
    ],
)
def test_is_open(asked: ChangeWindow, now: str, inside: bool) -> None:
    assert asked.contains(at(now)) == inside


@pytest.mark.parametrize(
    ("asked", "now", "opening"),
    [
        (OFFICE, "2025-11-20 08:30", "2025-11-20 08:30"),
        (OFFICE, "2025-11-20 07:30", "2025-11-20 08:00"),
        (OFFICE, "2025-11-20 15:00", "2025-11-21 08:00"),
        (OFFICE, "2025-11-21 15:00", "2025-11-24 08:00"),
        # From winter to summer over the weekend.
        (OFFICE, "2025-03-28 16:00", "2025-03-31 07:00"),
        (NIGHT, "2025-11-22 04:00", "2025-11-28 22:00"),
        (GAP, "2025-03-30 00:00", "2025-03-31 00:15"),
        (window("02:15", "02:45", days=frozenset({6}), zone=PARIS), "2025-03-29 00:00", "2025-04-06 00:15"),
        (window("02:30", "03:15", zone=PARIS), "2025-03-30 00:00", "2025-03-30 01:00"),
        (GAP, "2025-10-26 00:50", "2025-10-26 01:15"),
    ],
)
def test_opens_next(asked: ChangeWindow, now: str, opening: str) -> None:
    assert asked.opening(at(now)) == at(opening)
    assert asked.contains(at(opening))


def test_the_first_of_several_is_told() -> None:
    assert next_opening((NIGHT, OFFICE), at("2025-11-20 20:00")) == (at("2025-11-21 08:00"), OFFICE)
    assert next_opening((ChangeWindow(frozenset(), 0, 60),), NOW) is None


def test_opens_agrees_with_is_open_over_a_year() -> None:
    """In steps of a quarter of an hour: where it says when it opens, it is shut before, but for the hour that comes twice."""
    twice = at("2025-10-26 00:00"), at("2025-10-26 02:00")
    for asked in (OFFICE, NIGHT, GAP):
        now = at("2025-01-01 00:00")
        while now < at("2026-01-01 00:00"):
            opening = asked.opening(now)
            assert opening is not None
            shut = [asked.contains(moment) for moment in range(int(now), int(opening), 900) if not twice[0] <= moment < twice[1]]
            assert not any(shut)
            now = max(opening, now) + 7 * 900


# The profile


def manifest(**rule: Any) -> dict[str, Any]:
    metadata = {"name": "web", "namespace": "shop"}
    return {"apiVersion": "rightsizer.dev/v1alpha1", "kind": "ResourceProfile", "metadata": metadata, "spec": {"apply": rule}}


def test_a_window_is_read() -> None:
    profile = parse_profile(manifest(windows=[{"days": ["Mon", "Fri"], "start": "09:00", "end": "16:30", "timeZone": "Europe/Paris"}]))
    assert profile.problems == ()
    assert profile.apply.windows == (ChangeWindow(frozenset({0, 4}), 540, 990, PARIS),)


def test_defaults_are_the_whole_week_in_utc() -> None:
    assert parse_profile(manifest(windows=[{}])).apply.windows == (ChangeWindow(EVERY_DAY, 0, 1440, UTC),)
    assert parse_profile(manifest(windows=[])).apply == ApplyRule()


@pytest.mark.parametrize(
    ("windows", "field", "message"),
    [
        ([{"timeZone": "Europe/Pariss"}], "windows[0].timeZone", "IANA database, such as Europe/Paris, is 'Europe/Pariss'"),
        ([{"timeZone": "Europe"}], "windows[0].timeZone", "IANA"),
        ([{"timeZone": "../../etc/passwd"}], "windows[0].timeZone", "IANA"),
        ([{"timeZone": 1}], "windows[0].timeZone", "must be a text"),
        ([{"start": "9:00"}], "windows[0].start", "a time of the day in quotes"),
        ([{"end": 960}], "windows[0].end", "in quotes"),
        ([{"end": "24:01"}], "windows[0].end", "up to"),
        ([{"start": "24:00"}], "windows[0].start", "before 24:00"),
        ([{"start": "09:00", "end": "09:00"}], "windows[0].end", "must not be the start"),
        ([{"days": ["Monday"]}], "windows[0].days", "Mon, Tue"),
        ([{"days": []}], "windows[0].days", "at least one"),
        ([{"days": "Mon"}], "windows[0].days", "a list"),
        (["always"], "windows[0]", "must be a mapping"),
        ({"start": "09:00"}, "windows", "must be a list"),
    ],
)
def test_what_cannot_be_read_is_named_and_never_opens(windows: Any, field: str, message: str) -> None:
    profile = parse_profile(manifest(windows=windows))
    assert profile.problems[0].field == f"spec.apply.{field}"
    assert message in profile.problems[0].message
    assert profile.problems[0].message.endswith("; the window never opens")
    assert profile.apply.windows
    assert next_opening(profile.apply.windows, NOW) is None
    with pytest.raises(InvalidProfile, match="never opens"):
        load_profile(manifest(windows=windows))


def test_of_several_only_the_bad_one_never_opens() -> None:
    profile = parse_profile(manifest(windows=[{"timeZone": "Mars"}, {"start": "12:00"}]))
    assert [one.contains(at("2025-11-20 12:00")) for one in profile.apply.windows] == [False, True]


def test_raising_outside_of_windows_is_a_flag() -> None:
    assert not parse_profile(manifest(raiseOutsideWindows=False)).apply.raise_outside_windows
    unreadable = parse_profile(manifest(raiseOutsideWindows="yes"))
    assert (unreadable.apply.raise_outside_windows, unreadable.problems[0].field) == (False, "spec.apply.raiseOutsideWindows")


# The check


def facts(*windows: ChangeWindow, raise_outside_windows: bool = True, clamp: Clamp = Clamp.NONE, now: float = NOW) -> CheckFacts:
    """CPU to WORKED, memory up from 192Mi to 384Mi with this clamp, in a profile with these windows."""
    sizes = WIDE.with_value("memory", "request", 192 * MI).with_value("memory", "limit", 288 * MI)
    small = workload(Container("app", sizes))
    wanted = replace(recommendation(WORKED, current=sizes), memory=explanation("memory", WORKED, request_clamp=clamp))
    profile = Profile("shop", "web", apply=ApplyRule(windows=windows, raise_outside_windows=raise_outside_windows))
    return check_facts(small, [wanted], profile=profile, now=now)


def objection(found: CheckFacts) -> Objection:
    result = outside_window(found)
    assert result is not None
    return result


MEMORY = {"app.memory.request", "app.memory.limit"}
CPU = {"app.cpu.request", "app.cpu.limit"}
SHUT = window("09:00", "10:00", zone=PARIS)


@pytest.mark.parametrize("windows", [(), (window("12:00", "13:00"),), (SHUT, window("00:00", "24:00"))])
def test_within_a_window_or_without_any_nothing_is_held_back(windows: tuple[ChangeWindow, ...]) -> None:
    assert outside_window(facts(*windows)) is None


@pytest.mark.parametrize(
    ("clamp", "flag", "held"),
    [
        (Clamp.NONE, True, CPU | MEMORY),
        (Clamp.MAXIMUM, True, CPU | MEMORY),
        (Clamp.OOM_KILL, True, CPU),
        (Clamp.NEAR_LIMIT, True, CPU),
        (Clamp.OOM_KILL, False, CPU | MEMORY),
    ],
)
def test_only_memory_that_is_urgent_goes_first(clamp: Clamp, flag: bool, held: set[str]) -> None:
    found = objection(facts(SHUT, clamp=clamp, raise_outside_windows=flag))
    assert found.reason is Reason.OUTSIDE_WINDOW
    assert {str(path) for path in found.paths or ()} == held


def test_what_is_lowered_is_never_urgent() -> None:
    lowered = replace(recommendation(), memory=explanation("memory", WORKED, request_clamp=Clamp.OOM_KILL))
    found = check_facts(recommendations=[lowered], profile=Profile("shop", "web", apply=ApplyRule(windows=(SHUT,))))
    assert {str(path) for path in objection(found).paths or ()} == CPU | MEMORY


def test_says_when_the_next_one_opens_in_both_clocks() -> None:
    assert objection(facts(SHUT)).message == (
        "outside of spec.apply.windows: the next one opens at 2025-11-21 08:00 UTC (Fri 09:00 Europe/Paris)"
    )
    assert "ever opens" in objection(facts(ChangeWindow(frozenset(), 0, 60))).message


def test_it_is_asked_last_so_that_what_would_not_be_changed_anyway_does_not_wait() -> None:
    cooling = facts(SHUT)
    assert judge(cooling).objections[-1].reason is Reason.OUTSIDE_WINDOW
    small = check_facts(workload(Container("app", WORKED)), profile=cooling.profile)
    assert judge(small).objections == ()


def test_an_urgent_raise_passes_the_whole_chain_at_night() -> None:
    verdict = judge(facts(SHUT, clamp=Clamp.OOM_KILL, now=NOW))
    assert {str(change.path) for change in verdict.allowed} == MEMORY
