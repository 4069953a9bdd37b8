"""What the replay costs: generated containers in blocks, one core, peak memory. `make bench-evidence` prints it.

Usage is generated block by block, as the operator reads it from its history: all of it at once would be most of the memory measured.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator

import numpy as np

from rightsizer.evidence.backtest import CELLS_AT_ONCE, Series, backtest
from rightsizer.evidence.learning import replay_learned
from rightsizer.evidence.replay import replay
from rightsizer.evidence.rules import Rule, learned, measured
from rightsizer.methods.levels import DAY_SLOTS, HOUR_SLOTS
from rightsizer.methods.pace import pace_of
from rightsizer.profile import Profile
from rightsizer.workload import RESOURCES

GOAL_SECONDS = {"Measured": 60, "Learned": 600}
GOAL_UPDATE_SECONDS = {"Learned": 6}
"""For going on by an hour."""
GOAL_MEGABYTES = 500

_MEBIBYTE = 2**20
_PROFILE = Profile("bench", "bench")
_MEASURED = measured(_PROFILE.default_rule, window_seconds=_PROFILE.window_seconds)
_LEARNED = learned(_PROFILE.default_rule, _PROFILE.risk, window_seconds=_PROFILE.window_seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--containers", type=int, default=10_000)
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--method", choices=list(GOAL_SECONDS), default="Measured")
    arguments = parser.parse_args()
    told = f"{arguments.containers:,} containers x {arguments.days} days, a decision every hour, CPU and memory, method {arguments.method}"
    print(f"{told} ...", flush=True)
    seconds = measure(arguments.containers, days=arguments.days, method=arguments.method)
    update = measure_update(arguments.containers, days=arguments.days, method=arguments.method)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    goal = f" (goal {GOAL_UPDATE_SECONDS[arguments.method]} s)" if arguments.method in GOAL_UPDATE_SECONDS else ""
    print(f"  one core  {seconds:6.1f} s   (goal {GOAL_SECONDS[arguments.method]} s for 10,000 x 14 days)")
    print(f"  one hour  {update:6.1f} s   to go on by the newest: 1/{seconds / update:.0f} of that{goal}")
    print(f"  memory    {peak:6.0f} MB  (goal {GOAL_MEGABYTES} MB)")


def measure(containers: int, *, days: int, method: str = "Measured") -> float:
    """Seconds of CPU for replaying and judging, without what generating the usage takes."""
    plan: Rule = _MEASURED if method == "Measured" else _LEARNED
    pace = pace_of(_PROFILE, strategy="InPlace")
    seconds = 0.0
    for block in generated(containers, slots=days * DAY_SLOTS):
        began = time.process_time()
        backtest(block, plan, pace)
        seconds += time.process_time() - began
    return seconds


def measure_update(containers: int, *, days: int, method: str = "Measured") -> float:
    """Seconds of CPU for going on by the last hour, from the state in which a replay begins: it costs as much as any other."""
    pace = pace_of(_PROFILE, strategy="InPlace")
    seconds = 0.0
    for block in generated(containers, slots=days * DAY_SLOTS):
        for kind in RESOURCES:
            values = np.stack([one.usage(kind) for one in block])
            began = time.process_time()
            if method == "Measured":
                replay(values, _MEASURED.sizing(kind), pace, first_slot=1, begin=values.shape[1] - HOUR_SLOTS)
            else:
                learning = _LEARNED.cpu if kind == "cpu" else _LEARNED.memory
                replay_learned(values, learning, pace, first_slot=1, begin=values.shape[1] - HOUR_SLOTS)
            seconds += time.process_time() - began
    return seconds


def generated(containers: int, *, slots: int) -> Iterator[list[Series]]:
    """Containers with a day's rhythm, noise, bursts and gaps; the same ones every time."""
    random = np.random.default_rng(7)
    at_once = max(CELLS_AT_ONCE // slots, 1)
    for first in range(0, containers, at_once):
        yield [_one(f"c{number}", slots, random) for number in range(first, min(first + at_once, containers))]


def _one(name: str, slots: int, random: np.random.Generator) -> Series:
    hours = np.arange(slots) / 12
    rhythm = 1 + random.uniform(0, 0.8) * np.sin(2 * np.pi * (hours / 24 + random.uniform()))
    bursts = np.where(random.random(slots) < 0.003, random.uniform(2, 6), 1.0)
    cpu = random.lognormal(4, 1) * rhythm * random.gamma(8, 1 / 8, slots) * bursts
    memory = random.lognormal(5, 1) * _MEBIBYTE * (1 + 0.2 * rhythm) * random.normal(1, 0.03, slots)
    gaps = random.random(slots) < 0.02
    cpu[gaps] = memory[gaps] = np.nan
    return Series(name, 1, cpu.astype(np.float32), np.abs(memory).astype(np.float32))


if __name__ == "__main__":
    main()
