"""The options that `recommend` and `explain` share, and the origin of values that they ask for."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from rightsizer.cli.assessing import Origin
from rightsizer.cli.exits import DEBUG
from rightsizer.cli.progress import Report
from rightsizer.errors import InvalidInput, InvalidQuantity
from rightsizer.profile import value
from rightsizer.promql import LabelNames, checked_matchers, parse_label_names
from rightsizer.settings import PREFIX, check_names, from_environment
from rightsizer.status.times import unix_seconds

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

RULE_NAMES = ("mean+20", "p95+20", "p99+15", "krr", "vpa", "autopilot", "hour-of-day", "max/0.65", "perfect", "current")
"""The names of `rightsizer.evidence.rules.RULES` and its `CURRENT`, which takes too long to load for --help."""

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LIVE_ONLY = ("kubeconfig", "context", "all_namespaces")
_PODS = (
    "with --manifests: usage from this CSV file, plain or gzip, with the columns namespace, workload (Deployment/web), pod, container, "
    "unix_ts, cpu_cores, memory_bytes; an empty number, or nan, is a gap."
)
_SERIES = (
    "without --manifests: usage from this file (CSV, plain or gzip, or Parquet) with the columns series, unix_ts, cpu_cores, "
    "memory_bytes; several may follow. With --manifests: one CSV file, as for recommend."
)


def debug_option() -> Decorator:
    def remember(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        ctx.find_root().meta[DEBUG] = value

    return click.option("--debug", is_flag=True, expose_value=False, callback=remember, help="Show the traceback of an error.")


def kubeconfig_option() -> Decorator:
    return click.option("--kubeconfig", type=FILE, help="The kubeconfig file. [default: $KUBECONFIG, ~/.kube/config, or the pod's own]")


def prometheus_options(*, looked_for: bool = False) -> Decorator:
    """Options with the names of the settings; what is not given is None, and the environment counts.

    `looked_for`: whether a usage source that nobody names is looked for in the cluster.
    """
    return _together(
        click.option(
            "--prometheus-url",
            metavar="URL",
            help=f"The Prometheus API, up to, not including, /api/v1. [{'default: one found in the cluster' if looked_for else 'needed'}]",
        ),
        click.option("--prometheus-bearer-token-file", metavar="FILE", type=FILE, help="A file with a token to get in."),
        click.option("--prometheus-username", metavar="NAME", help="A name to get in, with --prometheus-password-file."),
        click.option("--prometheus-password-file", metavar="FILE", type=FILE, help="A file with the password of that name."),
        click.option("--prometheus-ca-file", metavar="FILE", type=FILE, help="Certificates to trust instead of the system's."),
        click.option("--prometheus-client-certificate-file", metavar="FILE", type=FILE, help="A certificate to show, with its key."),
        click.option("--prometheus-client-key-file", metavar="FILE", type=FILE, help="The key of that certificate, not encrypted."),
        click.option("--prometheus-insecure", is_flag=True, help="Trust every certificate."),
        click.option(
            "--prometheus-header",
            "prometheus_headers",
            metavar="NAME=VALUE",
            multiple=True,
            callback=_headers,
            help="A header of each request, such as X-Scope-OrgID=team; may be repeated.",
        ),
        click.option(
            "--prometheus-matchers",
            metavar="MATCHERS",
            callback=_matchers,
            help="""Narrows a shared server, such as 'cluster="east"'.""",
        ),
        click.option(
            "--prometheus-labels",
            metavar="NAMES",
            callback=_label_names,
            help="Renamed labels of the kubelet's metrics, such as namespace=kubernetes_namespace,pod=pod_name.",
        ),
        click.option(
            "--prometheus-kube-state-labels",
            metavar="NAMES",
            callback=_label_names,
            help="Renamed labels of kube-state-metrics, such as namespace=exported_namespace,pod=exported_pod.",
        ),
        click.option(
            "--prometheus-timeout",
            "prometheus_timeout_seconds",
            metavar="SECONDS",
            type=click.FloatRange(min=0, min_open=True),
            help="For one question, retries included. [default: 30]",
        ),
    )


def cluster_options(*, several_namespaces: bool) -> Decorator:
    """Which cluster and namespaces, without any usage."""
    options = [_namespace_option(several_namespaces=several_namespaces)]
    if several_namespaces:
        options.append(click.option("-A", "--all-namespaces", is_flag=True, help="All namespaces of the cluster."))
    context = click.option("--context", metavar="NAME", help="The context of the kubeconfig. [default: the current one]")
    return _together(*options, kubeconfig_option(), context, debug_option())


def _namespace_option(*, several_namespaces: bool, default: str = "that of the context") -> Decorator:
    may_repeat = "; may be repeated" if several_namespaces else ""
    return click.option(
        "-n",
        "--namespace",
        "namespaces",
        metavar="NAME",
        multiple=True,
        callback=_namespaces if several_namespaces else _at_most_one,
        help=f"The namespace{may_repeat}. [default: {default}]",
    )


def origin_options(*, several_namespaces: bool, replayed: bool = False) -> Decorator:
    """Everything that says where values come from. `replayed`: also from files of series."""
    namespaces = [_namespace_option(several_namespaces=several_namespaces, default="that of the context; all with --manifests")]
    if several_namespaces:
        namespaces.append(click.option("-A", "--all-namespaces", is_flag=True, help="All namespaces of the cluster."))
    return _together(
        *namespaces,
        click.option(
            "--profile",
            type=FILE,
            help="A ResourceProfile manifest that rules all that is asked for, and no other does; or a ClusterResourceProfile.",
        ),
        kubeconfig_option(),
        click.option("--context", metavar="NAME", help="The context of the kubeconfig. [default: the current one]"),
        prometheus_options(looked_for=True),
        click.option(
            "--manifests",
            metavar="DIR",
            type=click.Path(exists=True, path_type=Path),
            help="Offline, with --history: workloads from the YAML files in this folder and those in it, or from this file.",
        ),
        click.option("--history", metavar="FILE", type=FILE, multiple=replayed, help=f"Offline, {_SERIES if replayed else _PODS}"),
        click.option(
            "--now",
            metavar="TIME",
            callback=_moment,
            help="Offline: as if it were this time (RFC 3339 or unix seconds). [default: the newest sample]",
        ),
        debug_option(),
    )


def one_history(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options with the one file of `--history`, or None, in place of all. Raises InvalidInput for several."""
    if len(options["history"]) > 1:
        raise InvalidInput("--history: with --manifests it is one file")
    return {**options, "history": next(iter(options["history"]), None)}


def refuse_for_series(options: Mapping[str, Any]) -> None:
    """Raises InvalidInput for what says nothing about files of series."""
    asked = [name for name in (*_LIVE_ONLY, "namespaces", "workloads") if options[name]]
    asked += [name for name, value in prometheus_settings(options).items() if value is not None]
    asked += ["now"] if options["now"] is not None else []
    if asked:
        raise InvalidInput(f"{_flag(asked[0])} goes with a cluster or with --manifests, not with a file of series alone: leave it out")


def open_origin(options: Mapping[str, Any], report: Report) -> Origin:
    """The files, or the cluster and the usage source, that the options name.

    Raises InvalidInput where they name neither or both, and what opening raises.
    """
    offline = options["manifests"] is not None or options["history"] is not None or options["now"] is not None
    return _files(options, report) if offline else _live(options, report)


def _files(options: Mapping[str, Any], report: Report) -> Origin:
    from rightsizer.cli.offline import Files

    for name in ("manifests", "history"):
        if options[name] is None:
            raise InvalidInput(f"--{name} is missing: offline needs both, --manifests DIR and --history FILE")
    given = [name for name, value in prometheus_settings(options).items() if value is not None]
    live = [*(name for name in _LIVE_ONLY if options.get(name)), *given]
    if live:
        raise InvalidInput(f"{_flag(live[0])} goes with a cluster, --manifests and --history go without one: leave one of the two out")
    return Files(
        manifests=options["manifests"],
        history=options["history"],
        profile=options["profile"],
        namespaces=options["namespaces"],
        now=options["now"],
        report=report,
    )


def _live(options: Mapping[str, Any], report: Report) -> Origin:
    given = prometheus_settings(options)
    check_names(os.environ)
    if options.get("all_namespaces") and options["namespaces"]:
        raise InvalidInput("-n and -A: give one of the two")
    named = given["prometheus_url"] or os.environ.get(f"{PREFIX}PROMETHEUS_URL")
    settings = from_environment(os.environ, **given) if named else None
    # Clients of cluster and server take half a second to load: not for --help.
    from rightsizer import prometheus
    from rightsizer.cli.interrupting import stopped_by_interrupt
    from rightsizer.cli.live import ALL_NAMESPACES, Live, discovered
    from rightsizer.cluster import connect, current_namespace

    kubeconfig = None if options["kubeconfig"] is None else str(options["kubeconfig"])
    stopping = stopped_by_interrupt()
    if settings is None:
        source, described = discovered(kubeconfig, options["context"], given, stopping)
    else:
        source, described = prometheus.connect(settings, stopping=stopping), f"Prometheus {settings.prometheus_url}"
    cluster = connect(kubeconfig, options["context"], stopping=stopping)
    namespaces: Sequence[str] | None = ALL_NAMESPACES
    if not options.get("all_namespaces"):
        namespaces = options["namespaces"] or (current_namespace(kubeconfig, options["context"]),)
    return Live(cluster, source, namespaces=namespaces, profile=options["profile"], report=report, described=described)


def prometheus_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the usage source that were given, by the names of the settings; None for those that were not."""
    given = {name: value for name, value in options.items() if name.startswith("prometheus_") and name != "prometheus_insecure"}
    return {**given, "prometheus_verify": False if options["prometheus_insecure"] else None}


def _flag(name: str) -> str:
    names = {
        "prometheus_verify": "prometheus-insecure",
        "prometheus_headers": "prometheus-header",
        "prometheus_timeout_seconds": "prometheus-timeout",
        "namespaces": "namespace",
        "workloads": "workload",
    }
    return f"--{names.get(name, name).replace('_', '-')}"


def _together(*options: Decorator) -> Decorator:
    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def _headers(_: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str] | None:
    pairs = [value.partition("=") for value in values]
    if any(not separator or not name.strip() for name, separator, _ in pairs):
        # The value is not shown: it may be a secret.
        raise click.BadParameter("write NAME=VALUE", param=parameter)
    return {name.strip(): value.strip() for name, _, value in pairs} or None


def _label_names(_: click.Context, parameter: click.Parameter, text: str | None) -> LabelNames | None:
    try:
        return None if text is None else parse_label_names(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param=parameter) from error


def _matchers(_: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    try:
        return None if text is None else checked_matchers(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param=parameter) from error


def _at_most_one(_: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    if len(values) > 1:
        raise click.BadParameter("one namespace only", param=parameter)
    return _namespaces(_, parameter, values)


def _namespaces(_: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    for name in values:
        if not _NAMESPACE.fullmatch(name):
            raise click.BadParameter(f"{name!r} is no name of a namespace: small letters, digits and -, 63 at most", param=parameter)
    return values


def _moment(_: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return float(text) if text.replace(".", "", 1).isdigit() else unix_seconds(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no time, such as 2026-01-31T12:00:00Z or 1769860800", param=parameter) from error


def method_name(_: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    """A callback: a name that a profile can have for its method."""
    try:
        return None if text is None else value.method_name(text)
    except InvalidQuantity as error:
        raise click.BadParameter(str(error), param=parameter) from error


def duration(_: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    """A callback: whole minutes, hours or days, in seconds."""
    if text is None:
        return None
    try:
        return value.duration(text)
    except InvalidQuantity as error:
        raise click.BadParameter(str(error), param=parameter) from error
