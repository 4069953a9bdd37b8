"""Has freed memory given back, and garbage looked for seldom. The operator reads answers of many megabytes, for as long as it runs.

The allocator of glibc keeps what was freed in each of its arenas, and treats ever larger blocks as small ones: at 10,000 containers the
process held twice the memory that it used. Knows nothing of what the memory is used for; elsewhere than on glibc, nothing is given back.
"""

from __future__ import annotations

import ctypes
import gc

# From <malloc.h>; fixed numbers take the place of thresholds that grow with what is freed.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_SETTINGS = {_M_ARENA_MAX: 1, _M_MMAP_THRESHOLD: 128 * 1024, _M_TRIM_THRESHOLD: 1024 * 1024}


def give_memory_back() -> bool:
    """To be called before threads are started. Whether the allocator took every setting."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return {mallopt(parameter, value) for parameter, value in _SETTINGS.items()} == {1}


_NEW_OBJECTS = 50_000
"""After so many that are neither gone nor looked at yet, the new ones are looked through: some MB."""


def collect_seldom() -> None:
    """Have the collector of reference cycles, of which there are few, look through what is new seldom and through all hardly ever.

    A cycle reads some hundred thousand objects that live to its end. By Python's thresholds all of them are looked through again and
    again while they are read: a fifth of the processor time at 10,000 containers.
    """
    gc.set_threshold(_NEW_OBJECTS, 10, 10)
