"""How a command ends: one line on stderr that names the thing and what to do, and an exit code that scripts can rely on."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from enum import IntEnum
from typing import Any

import click

from rightsizer.errors import (
    ClusterError,
    ClusterForbidden,
    ClusterUnreachable,
    InvalidInput,
    InvalidProfile,
    InvalidQuantity,
    InvalidSettings,
    MethodFailed,
    RightsizerError,
    UsageSourceError,
    UsageSourceOverloaded,
    UsageSourceRefused,
)

DEBUG = "rightsizer.debug"
"""Key in the context's `meta`: whether an unexpected error shows its traceback."""

EPILOG = """\b
Exit codes:
  0  fine
  1  an unexpected error (--debug shows where)
  2  wrong usage, or a file, profile, setting, method or namespace that cannot be used
  3  the cluster could not be reached, or it refused
  4  the usage source could not be reached, or it refused
  5  nothing to recommend: no workload matched
  130  interrupted (Ctrl-C); `run` ends with 0 once it has started
"""


class ExitCode(IntEnum):
    """What EPILOG tells."""

    FINE = 0
    UNEXPECTED = 1
    UNUSABLE_INPUT = 2
    CLUSTER = 3
    USAGE_SOURCE = 4
    NOTHING_MATCHED = 5
    INTERRUPTED = 130


class NothingMatched(RightsizerError):
    """No workload is there to recommend anything for."""


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

_CODES: tuple[tuple[type[RightsizerError], ExitCode], ...] = (
    (InvalidInput, ExitCode.UNUSABLE_INPUT),
    (InvalidProfile, ExitCode.UNUSABLE_INPUT),
    (InvalidSettings, ExitCode.UNUSABLE_INPUT),
    (InvalidQuantity, ExitCode.UNUSABLE_INPUT),
    (MethodFailed, ExitCode.UNUSABLE_INPUT),
    (ClusterError, ExitCode.CLUSTER),
    (UsageSourceError, ExitCode.USAGE_SOURCE),
    (NothingMatched, ExitCode.NOTHING_MATCHED),
)

# The first that fits: a kind of error stands before the kind that it belongs to.
_ADVICE: tuple[tuple[type[RightsizerError], str], ...] = (
    (ClusterUnreachable, "check the kubeconfig and its context, or name another with --kubeconfig"),
    (ClusterForbidden, "the rights to list workloads, pods, autoscalers and profiles are needed (see manifests/recommend-only/rbac.yaml)"),
    (UsageSourceOverloaded, "try again later, or give it more time with --prometheus-timeout"),
    (UsageSourceError, "check --prometheus-url and the other --prometheus options"),
)


def _advice(error: RightsizerError) -> str:
    if isinstance(error, UsageSourceRefused) and error.status == 401:
        return "check --prometheus-bearer-token-file, or --prometheus-username and --prometheus-password-file"
    return next((advice for kind, advice in _ADVICE if isinstance(error, kind)), "")


def code_of(error: RightsizerError) -> ExitCode:
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.UNEXPECTED)


def tell(error: RightsizerError, *, of: str = "") -> None:
    """The error as one line on stderr; `of` names the part that it concerns where that is not all."""
    advice = _advice(error)
    text = " ".join(str(error).split())
    click.echo("error: " + (f"{of}: " if of else "") + text + (f" ({advice})" if advice else ""), err=True)


def note(text: str) -> None:
    click.echo(f"note: {text}", err=True)


def _give_output_up() -> None:
    """What is still buffered would fail once more when Python ends, which then ends with a code of its own."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class CommandLine(click.Group):
    """A group of commands that ends with our exit codes, whatever goes wrong in a command."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RightsizerError as error:
            if ctx.meta.get(DEBUG):
                raise
            tell(error)
            ctx.exit(code_of(error))
        except click.UsageError as error:
            where = error.ctx.command_path if error.ctx is not None else ctx.command_path
            click.echo(f"error: {' '.join(error.format_message().split())} (see {where} --help)", err=True)
            ctx.exit(ExitCode.UNUSABLE_INPUT)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(ExitCode.INTERRUPTED)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno in _NO_ROOM and error.filename is None:
                click.echo(f"error: the output cannot be written: {error.strerror}", err=True)
                _give_output_up()
                ctx.exit(ExitCode.UNUSABLE_INPUT)
            if ctx.meta.get(DEBUG):
                raise
            told = f"{type(error).__name__}: {' '.join(str(error).split())}"
            click.echo(f"error: unexpected {told} (this is a fault of rightsizer; --debug shows where)", err=True)
            ctx.exit(ExitCode.UNEXPECTED)
