"""The command line: `rightsizer`, and as a plug-in `kubectl rightsizer`."""

from rightsizer.cli.commands import main

__all__ = ["main"]
