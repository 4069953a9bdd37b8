"""A past that cannot be read: how often it is asked for, what is told of it, and when it counts as a gap."""

from __future__ import annotations

from typing import Any

import pytest

from rightsizer.cycle.unreadable import LEFT_OUT_SECONDS, PAUSES_SECONDS, Unreadable
from rightsizer.errors import UsageAnswerInvalid, UsageSourceError, UsageSourceOverloaded, UsageSourceRefused
from rightsizer.history import Span
from tests.unit.builders import DAY, WIDE, WORKED
from tests.unit.world import World

NOW = 1_700_000_100 // 300 * 300
PAST = Span(NOW - 86_400, NOW - 86_400)
ERROR = UsageSourceOverloaded(422, "too many samples")


def fail(unreadable: Unreadable, *, now: float, progress: bool = False) -> None:
    unreadable.failed("shop", ERROR, unread=[PAST], progress=progress, now=now)


class TestPatience:
    def test_grows_and_ends(self) -> None:
        unreadable, now = Unreadable(), float(NOW)
        for pause in PAUSES_SECONDS:
            fail(unreadable, now=now)
            assert unreadable.rests("shop", now=now + pause - 1)
            assert unreadable.left_out("shop", now=now) == ()
            now += pause
            assert not unreadable.rests("shop", now=now)
        fail(unreadable, now=now)
        assert unreadable.left_out("shop", now=now) == (PAST,)
        assert not unreadable.rests("shop", now=now), "other slots are asked for"
        now += LEFT_OUT_SECONDS
        assert unreadable.left_out("shop", now=now) == ()
        fail(unreadable, now=now)
        assert unreadable.left_out("shop", now=now) == (PAST,), "one more try a day"

    def test_begins_anew_where_something_was_read(self) -> None:
        unreadable, now = Unreadable(), float(NOW)
        for _ in range(10):
            fail(unreadable, now=now, progress=True)
            now += PAUSES_SECONDS[0]
            assert not unreadable.rests("shop", now=now)

    def test_is_not_worn_out_by_what_fails_within_a_pause(self) -> None:
        unreadable = Unreadable()
        for second in range(100):
            fail(unreadable, now=NOW + second)
        assert unreadable.left_out("shop", now=NOW + 100) == ()
        assert not unreadable.rests("shop", now=NOW + PAUSES_SECONDS[0])

    def test_is_over_where_all_was_read(self) -> None:
        unreadable = Unreadable()
        fail(unreadable, now=NOW)
        unreadable.answered("shop", now=NOW + 1)
        assert (unreadable.trouble("shop"), unreadable.rests("shop", now=NOW + 1)) == (None, False)

    def test_of_a_namespace_that_is_gone_is_forgotten(self) -> None:
        unreadable = Unreadable()
        fail(unreadable, now=NOW)
        unreadable.forget_all_but(["bank"])
        assert not unreadable.rests("shop", now=NOW)

    def test_of_one_namespace_leaves_the_others(self) -> None:
        unreadable = Unreadable()
        fail(unreadable, now=NOW)
        assert (unreadable.rests("bank", now=NOW), unreadable.trouble("bank")) == (False, None)


class HalfReadable(World):
    """A day ago, one slot of the namespace `shop` makes each question fail that touches it."""

    def __init__(self, error: UsageSourceError = ERROR, *, call: str = "usage") -> None:
        super().__init__()
        self.add_deployment()
        self.apply_profile()
        self.add_deployment(namespace="bank")
        self.apply_profile(namespace="bank")
        self.bad_slot = int(self.clock.time) // 300 * 300 - DAY - 3_600
        self.error = error
        self.failures = 0
        original = getattr(self.source, call)

        def answer(*arguments: object, span: Span, **more: object) -> object:
            if self.is_bad and "shop" in more["namespaces"] and span.start <= self.bad_slot <= span.end:  # type: ignore[operator]
                self.failures += 1
                raise self.error
            return original(*arguments, span=span, **more)

        self.is_bad = True
        setattr(self.source, call, answer)

    def run_hours(self, hours: float) -> None:
        for _ in range(round(hours * 12)):
            self.next_slot()
            self.run_cycle()


class TestOneSlotOfThePast:
    def test_is_no_trouble_but_nothing_is_lowered_meanwhile(self) -> None:
        world = HalfReadable()
        report = world.run_cycle()
        assert (report.troubled_namespaces, report.read < 1) == (0, True)
        assert world.told() == ("Waiting", "NotEnoughHistory")
        assert (world.sizes(), world.sizes(namespace="bank")) == (WIDE, WORKED)
        condition = world.measuring_condition()
        assert condition["status"] == "True"
        told = "; a part of the past could not be read yet: HTTP 422: too many samples"
        assert condition["message"].endswith(told)

    def test_is_not_asked_for_in_every_cycle(self) -> None:
        world = HalfReadable()
        world.run_cycle()
        before = world.failures
        world.run_cycles(4)
        assert world.failures == before
        world.run_hours(24)
        # The second to the fourth try; each failed once.
        assert world.failures == before + len(PAUSES_SECONDS)

    def test_counts_as_a_gap_in_the_end(self, caplog: pytest.LogCaptureFixture) -> None:
        world = HalfReadable()
        world.run_cycle()
        world.run_hours(3)
        assert world.sizes() == WORKED
        told = "5m of the past cannot be read and count as a gap: HTTP 422: too many samples"
        assert world.measuring_condition()["message"].endswith(f"; {told}")
        assert caplog.messages.count(f"namespace shop: {told}") == 1
        world.run_hours(24)
        assert world.measuring_condition()["message"].endswith(f"; {told}")

    def test_is_read_when_the_server_can(self) -> None:
        world = HalfReadable()
        world.run_cycle()
        world.is_bad = False
        world.run_hours(1)
        assert world.sizes() == WORKED
        assert "past" not in world.measuring_condition()["message"]

    def test_is_read_a_day_later_when_the_server_can_by_then(self) -> None:
        world = HalfReadable()
        world.run_cycle()
        world.run_hours(3)
        world.is_bad = False
        world.run_hours(23)
        assert "count as a gap" in world.measuring_condition()["message"]
        world.run_hours(2)
        assert "gap" not in world.measuring_condition()["message"]
        assert not world.measuring.history.missing("shop", Span(world.bad_slot, world.bad_slot))

    def test_is_a_gap_in_the_end_also_where_the_newest_slots_are_too_much_at_once(self) -> None:
        """They are then asked for one by one, and that is no progress with the past."""
        world = HalfReadable()
        original = world.source.usage

        def one_by_one(*arguments: Any, span: Span, **more: Any) -> Any:
            if "shop" in more["namespaces"] and 1 < span.slots <= 4 and span.end > int(world.clock.time) - 600:
                raise ERROR
            return original(*arguments, span=span, **more)

        setattr(world.source, "usage", one_by_one)  # noqa: B010
        world.run_cycle()
        world.run_hours(3)
        assert "5m of the past cannot be read and count as a gap" in world.measuring_condition()["message"]
        assert world.sizes() == WORKED

    def test_of_oom_kills_too(self) -> None:
        world = HalfReadable(call="oom_kills")
        world.run_cycle()
        assert world.sizes() == WIDE
        world.run_hours(3)
        assert world.sizes() == WORKED

    def test_a_day_that_cannot_be_halved_is_left_out_whole(self) -> None:
        world = HalfReadable(UsageAnswerInvalid("half a JSON"))
        world.run_cycle()
        world.run_hours(3)
        assert world.sizes() == WORKED
        assert "24h of the past cannot be read and count as a gap: half a JSON" in world.measuring_condition()["message"]

    def test_a_raise_does_not_wait_for_it(self) -> None:
        world = HalfReadable()
        world.change_usage(cpu=900)
        world.run_cycle()
        world.run_hours(1)
        assert world.told()[1] != "UsageSourceOverloaded"


def test_a_past_of_which_nothing_can_be_read_is_not_enough_history() -> None:
    world = HalfReadable()
    world.source.usage = _newest_only(world)  # type: ignore[method-assign]
    world.run_cycle()
    world.run_hours(3)
    assert world.failures <= 70
    assert (world.sizes(), world.told()) == (WIDE, ("Waiting", "NotEnoughHistory"))
    assert "of the past cannot be read and count as a gap" in world.measuring_condition()["message"]
    assert world.measuring.history.missing("shop", Span(world.bad_slot, world.bad_slot))


def _newest_only(world: HalfReadable) -> Any:
    """The server has only what is new, and a little before."""
    original, begin = type(world.source).usage.__get__(world.source), int(world.clock.time) // 300 * 300 - 1200

    def answer(*arguments: object, span: Span, **more: object) -> object:
        if "shop" in more["namespaces"] and span.start < begin:  # type: ignore[operator]
            world.failures += 1
            raise ERROR
        return original(*arguments, span=span, **more)

    return answer


class TestAllThatIsOld:
    """Of many namespaces, whatever is older than eight days cannot be read, as with a block that is damaged."""

    NAMES = tuple(f"n{number:02}" for number in range(60))

    def test_is_no_trouble_and_what_is_to_blame_is_found_out_in_time(self) -> None:
        world = World()
        for name in self.NAMES:
            world.add_deployment(namespace=name)
            world.apply_profile(namespace=name, mode="Recommend")
        original, damaged = world.source.usage, world.clock.time - 8 * DAY

        def answer(*arguments: Any, span: Span, **more: Any) -> object:
            if span.start < damaged:
                raise UsageSourceRefused(500, "damaged block")
            return original(*arguments, span=span, **more)

        setattr(world.source, "usage", answer)  # noqa: B010
        reports = []
        for _ in range(8 * 12):
            world.next_slot()
            reports.append(world.run_cycle())
        assert {report.troubled_namespaces for report in reports} == {0}
        assert reports[0].read < 0.9
        assert reports[-1].read > 0.99, "it counts as a gap by now"
