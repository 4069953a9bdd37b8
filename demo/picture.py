"""`python -m demo.picture`: draws pictures for the docs from the transcript of the newest demo. They show what was really printed.

Knows the headings of the demo and how SVG is made, nothing of clusters.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from demo.places import ROOT, TRANSCRIPT, from_root

FOLDER = ROOT / "docs" / "demo"
# Pictures load nothing from elsewhere: any monospaced font does.
_FONT_FACE = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)
_COLOURS = (
    (r"\b(Applied|UpToDate|RevertSucceeded)\b", "green"),
    (r"\b(Blocked|Waiting|Paused|NotEnoughHistory|HpaOnSameResource\S*|EvidenceTooWeak\S*)", "yellow"),
    (r"\b(Recommended|RecommendOnly|Verifying)\b", "cyan"),
)


@dataclass(frozen=True, slots=True)
class Picture:
    """Which commands of the transcript, by how they begin, go into which file."""

    name: str
    title: str
    commands: Sequence[str]


PICTURES = (
    Picture("recommend", "without a cluster: manifests and a usage history", ("rightsizer recommend",)),
    Picture("applied", "with a cluster: the operator at work", ("kubectl get rr", "kubectl get deployments")),
    Picture("explain", "how the numbers came about", ("rightsizer explain",)),
    Picture("backtest", "how good the numbers are", ("rightsizer backtest",)),
    Picture("history", "three ways to change a workload, one change taken back", ("kubectl get pods -n live", "rightsizer history")),
)


def main() -> int:
    if not TRANSCRIPT.exists():
        print(f"error: there is no {from_root(TRANSCRIPT)}: run the demo first", file=sys.stderr)
        return 1
    transcript = TRANSCRIPT.read_text(encoding="utf-8").splitlines()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for picture in PICTURES:
        path = FOLDER / f"{picture.name}.svg"
        path.write_text(drawn(picture, transcript), encoding="utf-8")
        print(from_root(path))
    return 0


def drawn(picture: Picture, transcript: Sequence[str]) -> str:
    """The SVG. Raises ValueError where a command is not in the transcript."""
    blocks = [_block(transcript, command) for command in picture.commands]
    lines = [line for block in blocks for line in (*block, "")][:-1]
    console = Console(record=True, width=max(map(len, lines)) + 1, file=io.StringIO(), color_system="truecolor", highlight=False)
    for line in lines:
        console.print(_coloured(line), soft_wrap=True)
    svg = console.export_svg(title=picture.title, unique_id=f"demo-{picture.name}")
    return "\n".join(line.rstrip() for line in _FONT_FACE.sub("", svg).splitlines()) + "\n"


def _block(transcript: Sequence[str], command: str) -> list[str]:
    """A command with its output, without the indentation of the demo."""
    for index, line in enumerate(transcript):
        if line.startswith(f"  $ {command}"):
            return [line[2:], *_output(transcript[index + 1 :])]
    raise ValueError(f"the transcript has no `{command}`")


def _output(lines: Sequence[str]) -> list[str]:
    """Up to the next command or heading; blank lines at the end are left out."""
    output: list[str] = []
    for line in lines:
        if line.startswith(("== ", "  $ ")):
            break
        output.append(line[2:])
    while output and not output[-1]:
        output.pop()
    return output


def _coloured(line: str) -> Text:
    text = Text(line, style="bold" if line.startswith("$ ") else "")
    for pattern, colour in _COLOURS:
        text.highlight_regex(pattern, style=colour)
    return text


if __name__ == "__main__":
    sys.exit(main())
