"""Freed memory is given back, where the C library lets itself be told, and what lives is not looked through again and again."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Blocks below 32 MB are kept by glibc once blocks of that size were freed, unless it was told otherwise; each of these lies above one
# that stays in use.
PROGRAM = """
import ctypes, sys, threading
from pathlib import Path
from rightsizer.cli.allocator import give_memory_back

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

if sys.argv[1] == "told":
    assert give_memory_back()
kept = []
def work():
    for _ in range(3):
        large = [bytearray(20_000_000) for _ in range(5)]
        kept.append(bytearray(100_000))
        del large
before = resident()
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(resident() - before)
"""


def left_over(how: str) -> int:
    return int(subprocess.run([sys.executable, "-c", PROGRAM, how], check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is on Linux only")
def test_freed_memory_is_given_back() -> None:
    assert left_over("told") < 10_000_000


COUNTING = """
import gc, sys
from rightsizer.cli.allocator import collect_seldom

if sys.argv[1] == "told":
    collect_seldom()
whole = []
gc.callbacks.append(lambda phase, about: whole.append(phase) if about["generation"] == 2 else None)
kept = [{"number": [number]} for number in range(200_000)]
print(len(whole))
"""


@pytest.mark.parametrize(("how", "expected"), [("told", False), ("untold", True)])
def test_what_a_cycle_reads_is_not_looked_through_again_and_again(how: str, expected: bool) -> None:
    found = subprocess.run([sys.executable, "-c", COUNTING, how], check=True, capture_output=True, text=True).stdout
    assert (int(found) > 0) == expected
