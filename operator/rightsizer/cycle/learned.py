"""What OOM kills taught: how much memory a container must be given at least."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from rightsizer.methods.sizing import oom_floor
from rightsizer.workload import ContainerKey, OomKill

Since = Callable[[ContainerKey], float]


class OomLessons:
    """The OOM kills of each container for as long as any of them counts. A kill told twice counts once."""

    def __init__(self) -> None:
        self._kills: dict[ContainerKey, set[OomKill]] = {}

    def learn(self, key: ContainerKey | None, *, at: float, memory_limit: int | None) -> None:
        """`at` in unix seconds; a pod that belongs to no workload (`key` None) teaches nothing."""
        if key is not None:
            self._kills.setdefault(key, set()).add(OomKill(key, at, memory_limit))

    def floors(self, since: Since = lambda key: 0.0) -> dict[ContainerKey, int]:
        """Bytes by container, of the kills since a time (unix seconds) that may be its own.

        A kill without a known limit gives 1 byte: the method then still keeps 1.2 x the peak that it saw.
        """
        counting = {key: [kill for kill in kills if kill.at >= since(key)] for key, kills in self._kills.items()}
        return {key: max(_floors(kills)) for key, kills in counting.items() if kills}

    def newest(self, key: ContainerKey) -> float | None:
        """When it was last killed (unix seconds), as far as that is remembered."""
        return max((kill.at for kill in self._kills.get(key, ())), default=None)

    def forget_before(self, time: float) -> None:
        kept = {key: {kill for kill in kills if kill.at >= time} for key, kills in self._kills.items()}
        self._kills = {key: kills for key, kills in kept.items() if kills}

    def forget_all_but(self, keys: Collection[ContainerKey]) -> None:
        kept = set(keys)
        self._kills = {key: kills for key, kills in self._kills.items() if key in kept}


def _floors(kills: Iterable[OomKill]) -> Iterable[int]:
    return (oom_floor(kill.memory_limit) if kill.memory_limit else 1 for kill in kills)
