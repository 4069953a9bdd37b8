"""The commands of `rightsizer`: what a person types, put together from the other files of this folder.

What only one command needs is loaded in it, so that `--help` is quick and the operator's framework is loaded by `run` alone.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from rightsizer import __version__
from rightsizer.cli.exits import EPILOG, CommandLine, ExitCode
from rightsizer.cli.options import (
    FILE,
    RULE_NAMES,
    cluster_options,
    debug_option,
    duration,
    kubeconfig_option,
    method_name,
    origin_options,
    prometheus_options,
    prometheus_settings,
)

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(cls=CommandLine, context_settings=CONTEXT, epilog=EPILOG)
@click.version_option(__version__, package_name="rightsizer", prog_name="rightsizer")
def main() -> None:
    """Measures what the containers of Kubernetes workloads use and says what they should request and be limited to.

    `recommend`, `explain`, `backtest` and `history` read only: they never write to a cluster. `revert` asks the operator to take a change
    back. `run` is the operator itself, as it runs in a cluster.
    With kubectl-rightsizer on the PATH, each is also `kubectl rightsizer COMMAND`.
    """


@main.command(epilog=EPILOG)
@kubeconfig_option()
@prometheus_options()
@debug_option()
def run(kubeconfig: Path | None, **options: Any) -> None:
    """Run the operator until it is stopped.

    Each --prometheus option can also be given as an environment variable: --prometheus-url is RIGHTSIZER_PROMETHEUS_URL, and so on;
    three are called otherwise: RIGHTSIZER_PROMETHEUS_TIMEOUT_SECONDS, RIGHTSIZER_PROMETHEUS_HEADERS, and
    RIGHTSIZER_PROMETHEUS_VERIFY=false for --prometheus-insecure. Options go before. More settings exist only there:
    RIGHTSIZER_PROMETHEUS_RETRIES, RIGHTSIZER_PROMETHEUS_QUERIES_AT_ONCE, RIGHTSIZER_HISTORY_FOLDER, RIGHTSIZER_OPERATOR_DEPLOYMENT,
    RIGHTSIZER_CYCLE_SECONDS, RIGHTSIZER_STALLED_AFTER_SECONDS, RIGHTSIZER_ROLLOUTS_PER_NAMESPACE, RIGHTSIZER_HTTP_ADDRESS,
    RIGHTSIZER_HTTP_PORT, RIGHTSIZER_LOG_LEVEL.
    """
    from rightsizer import handlers
    from rightsizer.cli.allocator import collect_seldom, give_memory_back
    from rightsizer.settings import from_environment

    give_memory_back()
    collect_seldom()
    settings = from_environment(os.environ, **prometheus_settings(options))
    handlers.run(settings, kubeconfig=None if kubeconfig is None else str(kubeconfig))


@main.command(epilog=EPILOG)
@click.option(
    "-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table", show_default=True, help="The form of the answer."
)
@origin_options(several_namespaces=True)
def recommend(output: str, **options: Any) -> None:
    """Recommend requests and limits, once. Nothing is written anywhere.

    \b
    From a cluster and its Prometheus, which is looked for where none is named:
      rightsizer recommend -n shop
      rightsizer recommend -n shop --prometheus-url http://localhost:9090
    From files, with no cluster and no server:
      rightsizer recommend --manifests deploy/ --history usage.csv.gz

    Profiles are those of the cluster (offline: those among the manifests), or the one of --profile; a workload that no profile
    fits gets the default one. Usage, certificates and secrets can also be named by RIGHTSIZER_PROMETHEUS_URL and the like.
    NOTE tells which check would hold an automatic change back: `-` for none, HpaOnSameResource(cpu) for one that concerns the CPU
    only, UpToDate where nothing would change, NoUsage where nothing was measured. EVIDENCE tells what this rule would have done over
    the container's own past: how long was judged, OOM kills, time above the request, changes a day, and the memory requested less
    than today, in the mean; `-` where too little was seen. With -o json or yaml each workload is one object:

    \b
      rightsizer recommend -o json ... | jq '.[] | {workload, savings}'
    """
    from rightsizer.cli.recommending import recommend_all

    with _logging():
        _end(recommend_all(output, options))


@main.command(epilog=EPILOG, short_help="Explain step by step how the numbers of a workload came about.")
@click.argument("workload", metavar="KIND/NAME")
@origin_options(several_namespaces=False)
def explain(workload: str, **options: Any) -> None:
    """Explain step by step how each number of one workload came about, so that it can be redone by hand.

    By the method Learned a number is what a walk through the past came to, which nobody redoes by hand: its outcome is told here, each
    of its decisions by `rightsizer backtest --trajectory FILE`.

    KIND is Deployment, StatefulSet, DaemonSet, CronJob or Rollout, also in small letters or short (deploy, sts, ds, cj, ro).

    \b
      rightsizer explain deploy/web -n shop --prometheus-url http://localhost:9090
      rightsizer explain deploy/web -n shop --manifests deploy/ --history usage.csv.gz
    """
    from rightsizer.cli.explaining import explain_one

    with _logging():
        _end(explain_one(workload, options))


@main.command(epilog=EPILOG, short_help="Replay the rule over past usage, beside other rules, and judge it.")
@click.argument("more", metavar="", nargs=-1, type=FILE)
@click.option("--workload", "workloads", metavar="KIND/NAME", multiple=True, help="Only this workload; may be repeated.")
@click.option(
    "--method",
    metavar="NAME",
    callback=method_name,
    help="Instead of the profile's method: Measured, Learned (by its risk budget), or an installed plug-in.",
)
@click.option(
    "--rule",
    "rules",
    type=click.Choice(RULE_NAMES),
    multiple=True,
    help="Another rule to compare with; may be repeated. current: the sizes in force today.",
)
@click.option(
    "--strategy",
    type=click.Choice(["InPlace", "Rollout"]),
    help="At which speeds: InPlace raises at once, Rollout spares restarts. [default: the profile's]",
)
@click.option("--score-after", metavar="DURATION", callback=duration, help="Judge from then on. [default: 7d, 24h for less than 10 days]")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "csv", "html"]),
    default="table",
    show_default=True,
    help="The form of the answer; html is one page with plots, for a browser.",
)
@click.option(
    "--trajectory", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Write every decision to this CSV file."
)
@origin_options(several_namespaces=True, replayed=True)
def backtest(more: tuple[Path, ...], **options: Any) -> None:
    """Replay the rule over past usage, each decision seeing only what was there by then, and judge it by what came next.

    \b
    The containers of a cluster over the window of their profiles, beside the sizes in force today:
      rightsizer backtest -n shop --rule current --rule vpa
      rightsizer backtest -n shop --workload deploy/web --strategy InPlace
    The same from files:
      rightsizer backtest --manifests deploy/ --history usage.csv.gz --rule current
    Any usage, by the rule of one profile:
      rightsizer backtest --history series.csv.gz --strategy InPlace --rule p95+20 --rule vpa

    Each container follows the rule of its own profile, as for recommend; its series is called namespace/Kind/name/container.

    A file of series knows no workloads: one row is one sample, at any spacing; a missing row or an empty number is a gap, and is neither
    filled nor counted. CPU is averaged over 5 minutes, memory is the highest. The bounds min and max count only for a resource for which
    the profile writes one: it is the rule that is judged. Exceptions by container name have no meaning there.

    Sizes are not rounded; that costs at most 1m or 1Mi.

    \b
    SLACK          requested but not used: 1 - p95 of a day's usage / mean of its request, mean over the days
    ABOVE REQUEST  share of the time in which more was used than requested
    UNMET          what was used above the request, as a share of all usage
    """
    from rightsizer.cli.backtesting import backtest_all

    with _logging():
        _end(backtest_all({**options, "history": (*options["history"], *more)}))


@main.command(epilog=EPILOG, short_help="Show what was changed, newest first.")
@click.argument("workload", metavar="[KIND/NAME]", required=False)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True, help="The form of the answer.")
@cluster_options(several_namespaces=True)
def history(workload: str | None, **options: Any) -> None:
    """Show the last ten changes of each workload, newest first, with what became of them.

    \b
      rightsizer history -n shop
      rightsizer history deploy/web -n shop -o json
    """
    from rightsizer.cli.changes import show_history

    with _logging():
        _end(show_history(workload, options))


@main.command(epilog=EPILOG, short_help="Have the newest change of a workload taken back.")
@click.argument("workload", metavar="KIND/NAME")
@click.option(
    "--wait",
    metavar="DURATION",
    default="3m",
    show_default=True,
    callback=duration,
    help="How long to wait for the operator; 0m not at all.",
)
@cluster_options(several_namespaces=False)
def revert(workload: str, **options: Any) -> None:
    """Have the newest change of a workload taken back.

    The values from before it are put back by the operator, in its next cycle and by the same strategy; it then leaves the workload as it is
    for a day, two days after the second time in a row, seven after each further one. To keep it off for good, set the annotation
    rightsizer.dev/mode: Recommend on the workload. It needs the right to patch resourcerecommendations.

    \b
      rightsizer revert deploy/web -n shop
    """
    from rightsizer.cli.changes import revert as take_back

    with _logging():
        _end(take_back(workload, options))


def _end(code: ExitCode) -> None:
    if code is not ExitCode.FINE:
        click.get_current_context().exit(code)


class _Warnings(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        # What could not be read of a namespace is told at the end, as an error.
        if record.name != "rightsizer.cycle.measuring":
            click.echo(f"warning: {record.getMessage()}", err=True)


@contextmanager
def _logging() -> Iterator[None]:
    """Warnings of the parts as lines on stderr."""
    logger, handler = logging.getLogger("rightsizer"), _Warnings(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
