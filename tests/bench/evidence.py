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
from rightsizer.evidence.rules import Rule, learned, measured
from rightsizer.methods.levels import DAY_SLOTS
from rightsizer.methods.pace import pace_of
from rightsizer.profile import Profile

GOAL_SECONDS = {"Measured": 60, "Learned": 600}
GOAL_MEGABYTES = 500

_MEBIBYTE = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--containers", type=int, default=10_000)
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--method", choices=list(GOAL_SECONDS), default="Measured")
    arguments = parser.parse_args()
    seconds = measure(arguments.containers, days=arguments.days, method=arguments.method)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{arguments.containers:,} containers x {arguments.days} days, a decision every hour, CPU and memory, method {arguments.method}")
    print(f"  one core  {seconds:6.1f} s   (goal {GOAL_SECONDS[arguments.method]} s for 10,000 x 14 days)")
    print(f"  memory    {peak:6.0f} MB  (goal {GOAL_MEGABYTES} MB)")


def measure(containers: int, *, days: int, method: str = "Measured") -> float:
    """Seconds of CPU for replaying and judging, without what generating the usage takes."""
    profile = Profile("bench", "bench")
    plan: Rule = measured(profile.default_rule, window_seconds=profile.window_seconds)
    if method == "Learned":
        plan = learned(profile.default_rule, profile.risk, window_seconds=profile.window_seconds)
    pace = pace_of(profile, strategy="InPlace")
    seconds = 0.0
    for block in generated(containers, slots=days * DAY_SLOTS):
        began = time.process_time()
        backtest(block, plan, pace)
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
