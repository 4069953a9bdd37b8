"""What of a former accuracy page stays, because the recorded usage that it was made of is not at hand in this run.

Knows the headings of the page, and nothing of figures.
"""

from __future__ import annotations

import re

PLOTS = "Slack against violations"
LOSSES = "What we lose at"


def with_kept(made: str, former: str, title: str) -> str:
    """What was made, with what `former` says of the set `title`: its chapter, its losses, and the plots, which were drawn of it.

    Both are what stands between the marks of the page. Nothing is kept where `former` has no such chapter.
    """
    old, new = _parts(former, "## "), _parts(made, "## ")
    if title not in old:
        return made
    new[PLOTS] = old[PLOTS]
    losses = new.pop(LOSSES)
    new[title], new[LOSSES] = old[title], losses
    lost = _parts(old.get(LOSSES, ""), "### ").get(title)
    return "\n\n".join([*new.values(), *([lost] if lost else [])])


def keeps(former: str, title: str) -> bool:
    """Whether there is anything to keep of a set."""
    return title in _parts(former, "## ")


def _parts(text: str, mark: str) -> dict[str, str]:
    """The text in parts that begin with a heading, in their order; what stands before the first one is called ''."""
    parts = re.split(rf"^(?={re.escape(mark)})", text, flags=re.MULTILINE)
    return {part.removeprefix(mark).partition("\n")[0].strip() if number else "": part.strip() for number, part in enumerate(parts)}
