"""Pages of the documentation that a run writes a part of: the part between two marks is replaced, the text of people around it is kept.

What was run is not known here; the machine that it ran on is.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rightsizer import __version__


@dataclass(frozen=True, slots=True)
class Marks:
    """The two lines, comments in Markdown, between which a run writes."""

    begin: str
    end: str

    def replaced(self, former: str, made: str, *, name: str) -> str:
        """The page `name` with what is between the marks replaced. Raises ValueError where it has lost its marks."""
        before, begin, rest = former.partition(self.begin)
        _, end, after = rest.partition(self.end)
        if not begin or not end:
            raise ValueError(f"{name} has lost its marks: {self.begin} and {self.end}")
        return f"{before}{self.begin}\n\n{made.strip()}\n\n{self.end}{after}"

    def within(self, page: str) -> str:
        """What stands between the marks; nothing where a page has none."""
        return page.partition(self.begin)[2].partition(self.end)[0].strip()

    def write(self, file: Path, made: str, *, new_page: str) -> None:
        """Writes the part into the file; where there is none, into `new_page`, which holds the marks."""
        file.parent.mkdir(parents=True, exist_ok=True)
        former = file.read_text() if file.is_file() else new_page
        file.write_text(self.replaced(former, made, name=file.name))


def machine(versions: str = "") -> dict[str, str]:
    """What was measured, where and when. `versions`: of what else took part, after a comma."""
    return {
        "date": datetime.now(tz=UTC).strftime("%Y-%m-%d"),
        "processor": f"{_first_count(Path('/proc/cpuinfo'), 'processor')} cores, {_first(Path('/proc/cpuinfo'), 'model name')}",
        "memory": f"{int(_first(Path('/proc/meminfo'), 'MemTotal').split()[0]) / 1_048_576:.0f} GiB",
        "system": f"Linux {platform.release()}, Python {platform.python_version()}",
        "versions": ", ".join(text for text in (f"Rightsizer {__version__}", versions) if text),
    }


def machine_line(measured_on: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {value}" for name, value in measured_on.items()) + "."


def _first(file: Path, name: str) -> str:
    values = [line.partition(":")[2].strip() for line in file.read_text().splitlines() if line.startswith(name)]
    return values[0] if values else "unknown"


def _first_count(file: Path, name: str) -> int:
    return sum(line.startswith(name) for line in file.read_text().splitlines())
