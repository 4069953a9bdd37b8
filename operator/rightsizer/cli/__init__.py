"""The command line: `rightsizer`, and as a plug-in `kubectl rightsizer`."""

import sys

try:
    from rightsizer.cli.commands import main
except KeyboardInterrupt:
    # Loading takes most of the first second, and nobody is there yet who would tell it.
    sys.stderr.write("interrupted\n")
    sys.exit(130)

__all__ = ["main"]
