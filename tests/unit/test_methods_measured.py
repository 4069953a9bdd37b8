from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rightsizer.history import UsageWindow
from rightsizer.methods import METHODS
from rightsizer.methods.explanation import amount, whole_percent
from rightsizer.methods.measured import ROWS_AT_ONCE, Measured
from rightsizer.methods.recommendation import Clamp, ContainerFacts, ContainerRecommendation, Explanation
from rightsizer.methods.sizing import oom_floor
from rightsizer.profile import DEFAULT_RULE, ContainerRule, LimitPolicy, LimitRule
from rightsizer.workload import ResourceName, Sizes
from tests.unit.builders import GI, MI, NOW, PLAIN_RULE, WIDE, WORKED, container_facts, usage_window, with_recognised

NAN = float("nan")
GUARANTEED = Sizes(cpu_request=500, cpu_limit=500, memory_request=GI, memory_limit=GI)


def recommend(usage: UsageWindow, *facts: ContainerFacts) -> list[ContainerRecommendation]:
    return METHODS["Measured"].recommend(usage, facts)


def one(
    cpu: list[float], memory: list[float], *, pods: int = 1, rule: ContainerRule = PLAIN_RULE, sizes: Sizes = WIDE, **told: Any
) -> ContainerRecommendation:
    facts = replace(container_facts(sizes=sizes, rule=rule), **told)
    return recommend(usage_window([cpu], [memory], pods=pods), facts)[0]


def explained(found: ContainerRecommendation, resource: ResourceName) -> Explanation:
    explanation = found.explanation(resource)
    assert explanation is not None
    return explanation


def test_the_worked_example_with_its_explanation() -> None:
    found = one([180.0] * 4012 + [NAN] * 20, [320.0 * MI] * 4012 + [NAN] * 20, pods=3)
    assert found.current == WIDE
    assert found.wanted == WORKED
    assert explained(found, "cpu").text == (
        "p95 of 14d (4,012 values, 99.5 %, busiest of up to 3 pods) = 180m; + 20 % = 216m; limit 2 x 216m = 432m"
    )
    assert explained(found, "memory").text == (
        "max of 14d (4,012 values, 99.5 %, largest of up to 3 pods) = 320Mi; + 20 % = 384Mi; limit 1.5 x 384Mi = 576Mi"
    )


def test_the_worked_example_by_the_default_rule() -> None:
    found = one([180.0] * 4012 + [NAN] * 20, [320.0 * MI] * 4012 + [NAN] * 20, pods=3, rule=DEFAULT_RULE)
    assert found.wanted == WORKED
    assert explained(found, "cpu").text == (
        "load-p94 (half-life 15h) of 14d (4,012 values, 99.5 %, busiest of up to 3 pods) = 180m; + 20 % = 216m; limit 2 x 216m = 432m"
    )
    assert explained(found, "memory").text == (
        "load-p96 (half-life 3d) of 14d (4,012 values, 99.5 %, largest of up to 3 pods) = 320Mi; + 20 % = 384Mi; limit 1.5 x 384Mi = 576Mi"
    )


@pytest.mark.parametrize("statistic", ["p50", "p99.9", "mean", "max", "load-p50", "load-p99.9"])
@pytest.mark.parametrize("half_life", [None, 3_600])
def test_the_worked_example_holds_under_any_statistic(statistic: str, half_life: int | None) -> None:
    rule = ContainerRule(
        cpu=replace(PLAIN_RULE.cpu, statistic=statistic, half_life_seconds=half_life),
        memory=replace(PLAIN_RULE.memory, statistic=statistic, half_life_seconds=half_life),
    )
    assert one([180.0] * 50, [320.0 * MI] * 50, rule=rule).wanted == WORKED


def test_the_measured_level_looks_at_the_end_of_the_window() -> None:
    rule = replace(PLAIN_RULE, cpu=replace(PLAIN_RULE.cpu, statistic="p50", half_life_seconds=3_600))
    assert explained(one([500.0] * 100 + [100.0] * 24, [320.0 * MI] * 124, rule=rule), "cpu").measurement.value == 100


def test_what_was_measured_is_told() -> None:
    measurement = explained(one([NAN, 100.0, NAN, 200.0, NAN], [1.0 * MI] * 5, pods=2), "cpu").measurement
    assert measurement.statistic == "p95"
    assert measurement.window_seconds == 1500
    assert measurement.value == 195
    assert measurement.peak == 200
    assert measurement.samples == 2
    assert measurement.coverage == pytest.approx(0.4)
    assert measurement.history_seconds == 900
    assert measurement.newest == int(NOW) - 300
    assert measurement.pods == 2


@pytest.mark.parametrize(
    ("throttled", "share", "wanted", "words"),
    [
        ([0.04, 0.05, NAN, NAN], 0, 216, "= 180m; + 20 % = 216m; limit"),
        (
            [0.06, NAN, NAN, 1],
            0.5,
            432,
            "a lower bound: throttled in 50 % of the values; + 20 % = 216m; raised, as 360m is measured",
        ),
        (None, 0, 216, "= 180m; + 20 % = 216m; limit"),
    ],
    ids=["hardly", "noticeably", "unknown"],
)
def test_throttling_is_told_and_raises_the_request(throttled: list[float] | None, share: float, wanted: int, words: str) -> None:
    usage = usage_window([[180.0] * 4], [[320.0 * MI] * 4], throttled=None if throttled is None else [throttled])
    (found,) = recommend(usage, *with_recognised(usage, container_facts(sizes=WORKED)))
    assert found.wanted == replace(WORKED, cpu_request=wanted, cpu_limit=2 * wanted)
    assert explained(found, "cpu").measurement.throttled == share
    assert explained(found, "memory").measurement.throttled == 0
    assert words in explained(found, "cpu").text
    assert "throttled" not in explained(found, "memory").text


@pytest.mark.parametrize(("share", "percent"), [(0, 0), (0.001, 1), (0.07, 7), (0.12, 12), (0.123, 13), (1, 100)])
def test_whole_percent_is_rounded_up(share: float, percent: int) -> None:
    assert whole_percent(share) == percent


@pytest.mark.parametrize("measured", [179.96, 180.00002, 180.04])
def test_what_is_shown_is_what_is_calculated_with(measured: float) -> None:
    found = one([measured] * 3, [320.0 * MI] * 3)
    assert found.wanted.cpu_request == 216
    assert "= 180m; + 20 % = 216m;" in explained(found, "cpu").text


@pytest.mark.parametrize(
    ("cpu", "rule", "told", "expected"),
    [
        (180.3, {}, {}, "= 180.3m; + 20 % = 216.36m, rounded up to 217m; limit 2 x 217m = 434m"),
        (1000, {}, {}, "= 1; + 20 % = 1200m; limit 2 x 1200m = 2400m"),
        (3, {}, {}, "= 3m; + 20 % = 3.6m; raised to the minimum 10m; limit 2 x 10m = 20m"),
        (20_000, {}, {}, "= 20; + 20 % = 24; lowered to the maximum 16; limit 2 x 16 = 32"),
        (180, {"buffer": 0.125}, {}, "= 180m; + 12.5 % = 202.5m, rounded up to 203m; limit 2 x 203m = 406m"),
        (180, {"limit": LimitRule(ratio=1.25)}, {}, "= 180m; + 20 % = 216m; limit 1.25 x 216m = 270m"),
        (190, {"limit": LimitRule(ratio=1.25)}, {}, "= 190m; + 20 % = 228m; limit 1.25 x 228m = 285m"),
        (101, {"limit": LimitRule(ratio=1.5)}, {}, "+ 20 % = 121.2m, rounded up to 122m; limit 1.5 x 122m = 183m"),
        (100.3, {"limit": LimitRule(ratio=1.5)}, {}, "rounded up to 121m; limit 1.5 x 121m = 181.5m, rounded up to 182m"),
        (180, {"limit": LimitRule(LimitPolicy.NONE)}, {}, "= 180m; + 20 % = 216m; no limit"),
        (180, {"limit": LimitRule(LimitPolicy.KEEP)}, {}, "= 180m; + 20 % = 216m; limit 1 kept"),
        (900, {"limit": LimitRule(LimitPolicy.KEEP)}, {}, "+ 20 % = 1080m; lowered to the limit 1, which is kept; limit 1 kept"),
        (180, {}, {"guaranteed": True}, "= 180m; + 20 % = 216m; limit = request, because the pod is Guaranteed"),
        (
            180,
            {"limit": LimitRule(LimitPolicy.KEEP)},
            {"guaranteed": True},
            "+ 20 % = 216m; left at the limit 1, which is kept in a Guaranteed pod; limit = request, because the pod is Guaranteed",
        ),
    ],
)
def test_the_way_to_a_cpu_size(cpu: float, rule: dict[str, Any], told: dict[str, Any], expected: str) -> None:
    changed = replace(PLAIN_RULE, cpu=replace(PLAIN_RULE.cpu, **rule))
    assert explained(one([cpu] * 3, [320.0 * MI] * 3, rule=changed, **told), "cpu").text.endswith(expected)


@pytest.mark.parametrize(
    ("memory", "rule", "told", "expected"),
    [
        ([320.3], {}, {}, "= 320.3Mi; + 20 % = 384.36Mi, rounded up to 385Mi; limit 1.5 x 385Mi = 577.5Mi, rounded up to 578Mi"),
        (
            [500],
            {"limit": LimitRule(LimitPolicy.NONE)},
            {"oom_floor": round(614.4 * MI)},
            "+ 20 % = 600Mi; raised to 615Mi: OOM-killed at a limit of 512Mi, x 1.2 = 614.4Mi, rounded up to 615Mi; no limit",
        ),
        (
            [100, 300],
            {"statistic": "p50"},
            {"oom_floor": round(614.4 * MI)},
            "+ 20 % = 240Mi; raised to 308Mi: OOM-killed at a limit of 512Mi, x 1.2 = 614.4Mi, over 2 = 307.2Mi, rounded up to 308Mi; "
            "limit 615Mi: OOM-killed at a limit of 512Mi, x 1.2 = 614.4Mi, rounded up to 615Mi",
        ),
        (
            [100, 300],
            {"statistic": "p50"},
            {"oom_floor": 612 * MI},
            "+ 20 % = 240Mi; raised to 306Mi: OOM-killed at a limit of 510Mi, x 1.2 = 612Mi, over 2; "
            "limit 612Mi: OOM-killed at a limit of 510Mi, x 1.2",
        ),
        (
            [100, 300],
            {"statistic": "p50", "maximum": 250 * MI},
            {"oom_floor": 600 * MI},
            "+ 20 % = 240Mi; lowered to the maximum 250Mi; limit 2 x 250Mi = 500Mi, the most for 2 x the peak of 300Mi = 600Mi",
        ),
        (
            [200, 200],
            {"statistic": "p50", "maximum": 250 * MI},
            {"oom_floor": 600 * MI},
            "+ 20 % = 240Mi; lowered to the maximum 250Mi; limit 2 x 250Mi = 500Mi, the most: OOM-killed at a limit of 500Mi, + 100Mi",
        ),
        (
            [100, 100, 600],
            {"statistic": "p50"},
            {"oom_floor": 1},
            "+ 20 % = 120Mi; raised to 1.2 x the peak of 600Mi = 720Mi, over 2 = 360Mi, because of an OOM kill; "
            "limit 2 x 360Mi = 720Mi, the most for 2 x the peak of 600Mi = 1200Mi",
        ),
        (
            [100, 600],
            {"statistic": "p50", "limit": LimitRule(LimitPolicy.NONE)},
            {"oom_floor": 500 * MI},
            "= 350Mi; + 20 % = 420Mi; raised to 1.2 x the peak of 600Mi = 720Mi, because of an OOM kill; no limit",
        ),
        ([300, 320], {"statistic": "p50"}, {}, "= 310Mi; + 20 % = 372Mi; limit 2 x the peak of 320Mi = 640Mi"),
        ([300, 300], {"statistic": "p50"}, {}, "= 300Mi; + 20 % = 360Mi; limit 1.5 x 360Mi = 540Mi"),
        (
            [200, 600],
            {"statistic": "p50"},
            {},
            "+ 20 % = 480Mi; limit 2 x 480Mi = 960Mi, the most for 2 x the peak of 600Mi = 1200Mi",
        ),
        (
            [200, 600],
            {"statistic": "p50"},
            {"guaranteed": True},
            "+ 20 % = 480Mi; raised to 1.2 x the peak of 600Mi = 720Mi, because the limit of a Guaranteed pod is its request; "
            "limit = request, because the pod is Guaranteed",
        ),
    ],
)
def test_the_way_to_a_memory_size(memory: list[float], rule: dict[str, Any], told: dict[str, Any], expected: str) -> None:
    changed = replace(PLAIN_RULE, memory=replace(PLAIN_RULE.memory, **rule))
    values = [each * MI for each in memory]
    assert explained(one([180.0] * len(values), values, rule=changed, **told), "memory").text.endswith(expected)


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        (256, "raised to 356Mi: OOM-killed at a limit of 256Mi, + 100Mi"),
        (256.5, "raised to 357Mi: OOM-killed at a limit of 256.5Mi, + 100Mi = 356.5Mi, rounded up to 357Mi"),
        (499, "raised to 599Mi: OOM-killed at a limit of 499Mi, + 100Mi"),
        (500, "raised to 600Mi: OOM-killed at a limit of 500Mi, + 100Mi"),
        (505, "raised to 606Mi: OOM-killed at a limit of 505Mi, x 1.2"),
        (512, "raised to 615Mi: OOM-killed at a limit of 512Mi, x 1.2 = 614.4Mi, rounded up to 615Mi"),
        (2048, "raised to 2458Mi: OOM-killed at a limit of 2Gi, x 1.2 = 2457.6Mi, rounded up to 2458Mi"),
        (20480, "raised to 24Gi: OOM-killed at a limit of 20Gi, x 1.2"),
    ],
)
@pytest.mark.parametrize("peak_share", [0.5, 1.0])
def test_the_limit_at_an_oom_kill_and_the_rule_that_won_are_told(limit: float, told: str, peak_share: float) -> None:
    size = round(limit * MI)
    # The peak decides only after the kill; without a limit, the request has to give what the kill asks for.
    rule = replace(PLAIN_RULE, memory=replace(PLAIN_RULE.memory, statistic="p50", limit=LimitRule(LimitPolicy.NONE)))
    values = [0.25 * size, 0.25 * size, peak_share * size]
    found = explained(one([180.0] * 3, values, rule=rule, oom_floor=oom_floor(size)), "memory")
    assert found.request_clamp is Clamp.OOM_KILL
    assert found.text.split("; ")[2:-1] == [told]


def test_a_kill_at_an_unknown_limit_is_told_by_the_peak() -> None:
    rule = replace(PLAIN_RULE, memory=replace(PLAIN_RULE.memory, statistic="p50", limit=LimitRule(LimitPolicy.NONE)))
    found = explained(one([180.0] * 3, [100.0 * MI, 100.0 * MI, 200.0 * MI], rule=rule, oom_floor=1), "memory")
    assert found.text.split("; ")[2] == "raised to 1.2 x the peak of 200Mi = 240Mi, because of an OOM kill"


@pytest.mark.parametrize(
    ("pods", "told"), [(0, "(1 value, 100.0 %)"), (1, "(1 value, 100.0 %, 1 pod)"), (1200, "busiest of up to 1,200 pods)")]
)
def test_how_many_pods_there_were(pods: int, told: str) -> None:
    assert told in explained(one([180.0], [320.0 * MI], pods=pods), "cpu").text


@pytest.mark.parametrize(
    ("resource", "value", "text"),
    [
        ("cpu", 216, "216m"),
        ("cpu", 180.3, "180.3m"),
        ("cpu", 2000, "2"),
        ("cpu", 0, "0"),
        ("memory", 384 * MI, "384Mi"),
        ("memory", 384.36 * MI, "384.36Mi"),
        ("memory", 64 * GI, "64Gi"),
        ("memory", 0, "0"),
    ],
)
def test_amounts(resource: ResourceName, value: float, text: str) -> None:
    assert amount(resource, value) == text


def test_without_values_a_resource_stays_as_it_is() -> None:
    found = one([NAN] * 3, [320.0 * MI] * 3)
    assert found.cpu is None
    assert found.wanted == replace(WIDE, memory_request=384 * MI, memory_limit=576 * MI)


def test_without_any_value_nothing_is_recommended() -> None:
    found = one([NAN], [NAN])
    assert (found.cpu, found.memory, found.wanted) == (None, None, WIDE)


def test_an_ignored_container_stays_as_it_is() -> None:
    found = one([180.0], [320.0 * MI], rule=replace(PLAIN_RULE, ignored=True))
    assert (found.cpu, found.memory, found.wanted) == (None, None, WIDE)


def test_a_guaranteed_container_stays_so() -> None:
    wanted = one([180.0], [320.0 * MI], sizes=GUARANTEED, guaranteed=True).wanted
    assert wanted == Sizes(cpu_request=216, cpu_limit=216, memory_request=384 * MI, memory_limit=384 * MI)


def test_the_oom_kill_of_one_container_is_its_own() -> None:
    usage = usage_window([[180.0]] * 2, [[320.0 * MI]] * 2)
    killed, other = recommend(usage, container_facts("c0", oom_floor=700 * MI), container_facts("c1"))
    assert (killed.wanted.memory_request, killed.wanted.memory_limit) == (384 * MI, 700 * MI)
    assert explained(killed, "memory").limit_clamp is Clamp.OOM_KILL
    assert other.wanted == WORKED


class TestHeld:
    def test_a_higher_level_of_a_few_hours_ago_counts(self) -> None:
        usage = usage_window([[150.0]], [[320.0 * MI]])
        (found,) = recommend(usage, replace(container_facts(rule=PLAIN_RULE), held={"cpu": 180.03, "memory": 300.0 * MI}))
        assert found.wanted == WORKED
        assert "= 180m, the highest of the last 54h (now 150m); + 20 % = 216m; limit" in explained(found, "cpu").text
        assert (explained(found, "cpu").measurement.value, explained(found, "cpu").measurement.latest) == (180, 150)
        assert explained(found, "memory").measurement.latest is None

    def test_without_usage_nothing_follows_from_it(self) -> None:
        (found,) = recommend(usage_window([[NAN]], [[NAN]]), replace(container_facts(), held={"cpu": 180.0}))
        assert found.wanted == WIDE


class TestNearLimit:
    def near(
        self, *memory: float, limit: int | None = 500 * MI, rule_limit: LimitRule = PLAIN_RULE.memory.limit, **rule: Any
    ) -> ContainerRecommendation:
        sizes = replace(WIDE, memory_limit=limit)
        plain = replace(PLAIN_RULE, memory=replace(PLAIN_RULE.memory, statistic="p50", half_life_seconds=None, limit=rule_limit, **rule))
        return one([180.0] * len(memory), [value * MI for value in memory], sizes=sizes, rule=plain)

    @pytest.mark.parametrize(
        ("memory", "request_", "words"),
        [
            ((450, 450, 450), 540, "; raised to 1.2 x 450Mi = 540Mi, because the memory in use is at 90% of its limit or above; limit"),
            ((100, NAN, 450), 540, "; raised to 1.2 x 450Mi = 540Mi, because the memory in use is at 90% of its limit or above; limit"),
            (
                (100, 400, 450),
                650,
                "; raised to 450Mi + 4 x 50Mi = 650Mi, because the memory in use is at 90% of its limit or above and climbed by 50Mi in "
                "5 minutes; limit",
            ),
            (
                (100, 100, 450),
                900,
                "; raised to 2 x 450Mi = 900Mi, because the memory in use is at 90% of its limit or above and climbed by 350Mi in "
                "5 minutes; limit",
            ),
        ],
    )
    def test_memory_near_its_limit_asks_for_more_at_once(self, memory: tuple[float, ...], request_: int, words: str) -> None:
        found = self.near(*memory, buffer=0.0)
        assert (found.wanted.memory_request, explained(found, "memory").request_clamp) == (request_ * MI, Clamp.NEAR_LIMIT)
        assert words in explained(found, "memory").text

    @pytest.mark.parametrize("memory", [(100, 100, 449), (100, 450, 100)])
    def test_only_what_is_near_it_now(self, memory: tuple[float, ...]) -> None:
        assert explained(self.near(*memory), "memory").request_clamp is Clamp.PEAK

    def test_the_last_value_that_is_there_counts(self) -> None:
        assert self.near(100, 450, 450, NAN, buffer=0.0).wanted.memory_request == 540 * MI

    def test_without_a_limit_nothing_is_near(self) -> None:
        assert explained(self.near(100, 100, 450, limit=None), "memory").request_clamp is Clamp.PEAK

    @pytest.mark.parametrize("policy", [LimitPolicy.KEEP, LimitPolicy.NONE])
    def test_a_limit_that_does_not_follow_is_no_reason(self, policy: LimitPolicy) -> None:
        assert self.near(100, 100, 450, rule_limit=LimitRule(policy)).wanted.memory_request == 120 * MI

    def test_the_maximum_holds_all_the_same(self) -> None:
        found = self.near(100, 100, 450, maximum=512 * MI)
        assert (found.wanted.memory_request, explained(found, "memory").request_clamp) == (512 * MI, Clamp.MAXIMUM)


def test_rows_keep_their_order_over_rules_and_blocks() -> None:
    rows = ROWS_AT_ONCE + 5
    other = replace(PLAIN_RULE, cpu=replace(PLAIN_RULE.cpu, buffer=1.0))
    usage = usage_window([[10.0 * (row + 1)] for row in range(rows)], [[320.0 * MI]] * rows)
    facts = [container_facts(f"c{row}", rule=other if row % 3 else PLAIN_RULE) for row in range(rows)]
    found = recommend(usage, *facts)
    assert [each.name for each in found] == [f"c{row}" for row in range(rows)]
    expected = [min(16_000, 10 * (row + 1) * 2 if row % 3 else 12 * (row + 1)) for row in range(rows)]
    assert [each.wanted.cpu_request for each in found] == expected


def test_no_containers() -> None:
    empty = np.empty((0, 5), dtype=np.float32)
    usage = replace(usage_window([], []), cpu=empty, memory=empty, pods=empty.astype(np.uint16))
    assert recommend(usage) == []


def test_facts_that_do_not_fit_the_usage_are_refused() -> None:
    with pytest.raises(ValueError, match="2 facts for 1"):
        recommend(usage_window([[1.0]], [[1.0]]), container_facts(), container_facts())


def test_it_is_registered_by_its_name() -> None:
    assert METHODS["Measured"] == Measured()
    assert all(method.name == name for name, method in METHODS.items())
