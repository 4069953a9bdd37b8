"""Reads a profile, of a namespace or cluster-wide, from the API's JSON or from a YAML file, with the same rules as the custom resource's
schema.

The schema is absent for files on the command line and may be newer than this operator, so every value is checked here again. A value
that cannot be used is noted, and the default stands in its place; where the default would do more than was asked for (a selector
that matches everything, a strategy that restarts), what does less stands there instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rightsizer.errors import InvalidProfile
from rightsizer.profile import value
from rightsizer.profile.change_window_manifest import change_windows
from rightsizer.profile.profile import (
    CLUSTER_KIND,
    DEFAULT_KINDS,
    DEFAULT_LOWER_AFTER_SECONDS,
    DEFAULT_METHOD,
    DEFAULT_RAISE_AFTER_SECONDS,
    DEFAULT_WINDOW_SECONDS,
    KIND,
    KINDS,
    LEARNED,
    ORDINARY_NAMESPACES,
    Profile,
)
from rightsizer.profile.rule import (
    DEFAULT_RULE,
    DEFAULT_TIME_ABOVE_REQUEST,
    IN_PLACE,
    NEVER,
    ON_CREATE,
    ROLLOUT,
    TAKE_OWNERSHIP,
    ApplyRule,
    ContainerRule,
    EvidenceRule,
    LimitPolicy,
    LimitRule,
    Mode,
    ResourceRule,
    RiskBudget,
    VerifyRule,
    half_life_of,
    lowest,
    parse_statistic,
)
from rightsizer.profile.section import Findings, Section
from rightsizer.profile.selector import MATCHES_NOTHING, LabelSelector, Operator, Requirement
from rightsizer.quantities import format_cpu, format_duration, format_memory, format_percentage
from rightsizer.workload import ResourceName

API_VERSION = "rightsizer.dev/v1alpha1"
_OPERATORS: tuple[Operator, ...] = ("In", "NotIn", "Exists", "DoesNotExist")


def parse_profile(manifest: Mapping[str, Any]) -> Profile:
    """The profile of the API's JSON. What cannot be used is in its `problems`; unknown fields are passed over. Never raises for content."""
    findings = Findings()
    profile = _profile(findings.root(manifest), findings)
    return replace(profile, risk=_usable_risk(profile, findings), problems=tuple(findings.problems))


def load_profile(manifest: Mapping[str, Any], *, replayed: bool = False) -> Profile:
    """The profile of a file. Raises InvalidProfile for an unknown field or the first value that cannot be used.

    `replayed`: it is only to be replayed, by whatever method, and nothing is applied.
    """
    findings = Findings()
    root = findings.root(manifest)
    for name, expected in (("apiVersion", (API_VERSION,)), ("kind", (KIND, CLUSTER_KIND))):
        root.require(name, value.one_of(*expected))
    root.section("metadata", closed=False).require("name", value.text)
    profile = _profile(root, findings)
    if not replayed:
        _usable_risk(profile, findings)
    for problem in (*findings.unknown_fields(), *findings.problems):
        raise InvalidProfile(problem.field, problem.message)
    return profile


def _usable_risk(profile: Profile, findings: Findings) -> RiskBudget:
    """The risk budget, without what nobody looks at, or what the evidence would never let be used."""
    if profile.method != LEARNED and profile.risk != RiskBudget():
        findings.note("spec.risk", f"only the method {LEARNED} has a risk budget: set spec.method to {LEARNED}, or remove it")
    budget, most = profile.risk.time_above_request, profile.evidence.max_time_above_request
    if profile.method == LEARNED and budget is not None and budget > most:
        told = f"{budget * 100:g}% is more than spec.evidence.maxTimeAboveRequest ({format_percentage(most)}) accepts"
        findings.note("spec.risk.timeAboveRequest", f"{told}, so that hardly anything would be lowered: raise that, or lower this")
        return replace(profile.risk, time_above_request=None)
    least = max(DEFAULT_TIME_ABOVE_REQUEST.values())
    if profile.method == LEARNED and budget is None and least > most:
        told = f"{format_percentage(most)} is less than the {format_percentage(least)} of CPU that {LEARNED} may risk by default"
        advice = "raise it, or set spec.risk.timeAboveRequest to at most that"
        findings.note("spec.evidence.maxTimeAboveRequest", f"{told}, so that hardly anything would be lowered: {advice}", kept=True)
    return profile.risk


def _profile(root: Section, findings: Findings) -> Profile:
    metadata, spec, status = root.section("metadata", closed=False), root.section("spec"), root.raw("status")
    workloads = spec.section("workloads")
    apply_rule, strategy_known = _apply_rule(spec.section("apply"), findings)
    mode = spec.take("mode", value.choice(Mode), Mode.RECOMMEND)
    cluster_wide = root.raw("kind") == CLUSTER_KIND
    window, raise_after, lower_after = _times(spec)
    default_rule = _default_rule(spec)
    return Profile(
        namespace="" if cluster_wide else metadata.take("namespace", value.text, "default"),
        name=metadata.take("name", value.text, ""),
        uid=metadata.take("uid", value.text, ""),
        generation=metadata.take("generation", value.whole_number, 0),
        created_at=metadata.take("creationTimestamp", value.timestamp, 0.0),
        mode=mode if strategy_known else lowest(mode, Mode.RECOMMEND),
        kinds=_kinds(workloads),
        selector=_selector(workloads, "selector", findings),
        window_seconds=window,
        raise_after_seconds=raise_after,
        lower_after_seconds=lower_after,
        default_rule=default_rule,
        container_rules=_container_rules(spec, default_rule),
        apply=apply_rule,
        evidence=_evidence_rule(spec.section("evidence")),
        method=spec.take("method", value.method_name, DEFAULT_METHOD),
        risk=_risk(spec.section("risk")),
        status=status if isinstance(status, Mapping) else {},
        namespace_selector=_namespace_selector(spec, findings) if cluster_wide else ORDINARY_NAMESPACES,
    )


def _kinds(workloads: Section) -> tuple[str, ...]:
    """The kinds that can be read; where some cannot, the others only, never all by default."""
    kinds = workloads.raw("kinds")
    if kinds is None:
        return DEFAULT_KINDS
    if not isinstance(kinds, list) or not kinds:
        workloads.note("kinds", f"must be a list of at least one of {', '.join(KINDS)}, is {kinds!r}")
        return ()
    for index, kind in enumerate(kinds):
        if kind not in KINDS:
            workloads.note(f"kinds[{index}]", f"must be one of {', '.join(KINDS)}, is {kind!r}")
    return tuple(kind for kind in KINDS if kind in kinds)


def _namespace_selector(spec: Section, findings: Findings) -> LabelSelector:
    """What is written selects what it says, and `{}` therefore every namespace; only where nothing is, those of the system are left out."""
    if spec.raw("namespaceSelector") is None:
        return ORDINARY_NAMESPACES
    return _selector(spec, "namespaceSelector", findings)


def _selector(parent: Section, name: str, findings: Findings) -> LabelSelector:
    """The selector; one that cannot be read matches nothing, because the default would match everything."""
    before = len(findings.problems)
    section = parent.section(name)
    labels = section.section("matchLabels", closed=False)
    selector = LabelSelector(
        match_labels={key: labels.take(key, value.text, "") for key in labels.names()},
        match_expressions=tuple(_requirement(entry) for entry in section.sections("matchExpressions")),
    )
    if len(findings.problems) == before:
        return selector
    told = [
        replace(problem, message=f"{problem.message}; until then nothing is selected", kept=True) for problem in findings.problems[before:]
    ]
    findings.problems[before:] = told
    return MATCHES_NOTHING


def _requirement(entry: Section) -> Requirement:
    key = entry.require("key", value.text) or ""
    operator = entry.require("operator", value.one_of(*_OPERATORS)) or "Exists"
    values = entry.take("values", value.texts, ())
    if operator in ("In", "NotIn") and not values:
        entry.note("values", f"operator {operator} needs values: name at least one")
    if operator in ("Exists", "DoesNotExist") and values:
        entry.note("values", f"operator {operator} takes no values: remove them")
    return Requirement(key, operator, values)


def _times(spec: Section) -> tuple[int, int, int]:
    """Window, and history needed to raise and to lower, in seconds. More history than the window would never be there."""
    window = spec.take("window", value.window, DEFAULT_WINDOW_SECONDS)
    history = spec.section("minimumHistory")
    return (
        window,
        _minimum_history(history, "raise", default=DEFAULT_RAISE_AFTER_SECONDS, window=window),
        _minimum_history(history, "lower", default=DEFAULT_LOWER_AFTER_SECONDS, window=window),
    )


def _minimum_history(history: Section, name: str, *, default: int, window: int) -> int:
    seconds = history.take(name, value.duration, default)
    if seconds > window:
        length = format_duration(window)
        history.note(
            name, f"{format_duration(seconds)} is longer than the window ({length}): set it to at most {length}, or make the window longer"
        )
    return min(seconds, window)


def _default_rule(spec: Section) -> ContainerRule:
    return ContainerRule(
        cpu=_resource_rule(spec.section("cpu"), "cpu", DEFAULT_RULE.cpu),
        memory=_resource_rule(spec.section("memory"), "memory", DEFAULT_RULE.memory),
    )


def _container_rules(spec: Section, default: ContainerRule) -> dict[str, ContainerRule]:
    rules: dict[str, ContainerRule] = {}
    for section in spec.sections("containers"):
        name, rule = section.require("name", value.container_name), _container_rule(section, default)
        if name in rules:
            section.note("name", f"{name} is named twice: remove one of them")
        elif name is not None:
            rules[name] = rule
    return rules


def _container_rule(section: Section, default: ContainerRule) -> ContainerRule:
    """The exception of one container; what it does not set comes from the profile's own rule."""
    return ContainerRule(
        cpu=_resource_rule(section.section("cpu"), "cpu", default.cpu),
        memory=_resource_rule(section.section("memory"), "memory", default.memory),
        # Whoever writes any mode here wants less to happen to this container, so an unreadable one counts as Ignore.
        ignored=section.take("mode", value.one_of(Mode.IGNORE), "", instead=Mode.IGNORE) == Mode.IGNORE,
    )


def _resource_rule(section: Section, resource: ResourceName, default: ResourceRule) -> ResourceRule:
    read, write = (value.cpu, format_cpu) if resource == "cpu" else (value.memory, format_memory)
    statistic, half_life = _statistic(section, resource, default)
    rule = ResourceRule(
        statistic=statistic,
        half_life_seconds=half_life,
        buffer=section.take("buffer", value.share(maximum=300), default.buffer),
        limit=_limit_rule(section.section("limit"), default.limit),
        minimum=section.take("min", read, default.minimum),
        maximum=section.take("max", read, default.maximum),
    )
    if rule.minimum <= rule.maximum:
        return rule
    section.note("min", f"min ({write(rule.minimum)}) is above max ({write(rule.maximum)}): lower min or raise max")
    return replace(rule, minimum=default.minimum, maximum=default.maximum)


def _statistic(section: Section, resource: ResourceName, default: ResourceRule) -> tuple[str, int | None]:
    """The statistic and its half-life; one that is not given belongs to the statistic, and goes with it."""
    statistic = section.take("statistic", value.statistic, default.statistic)
    half_life = section.take("halfLife", value.half_life, None)
    found = parse_statistic(statistic)
    if half_life is not None and not found.has_half_life:
        section.note(
            "halfLife", f"statistic {statistic} has no half-life, only percentiles have: remove halfLife, or choose another statistic"
        )
        return statistic, None
    if half_life is None:
        return statistic, default.half_life_seconds if statistic == default.statistic else half_life_of(found, resource)
    return statistic, half_life


def _limit_rule(section: Section, default: LimitRule) -> LimitRule:
    policy = section.take("policy", value.choice(LimitPolicy), default.policy)
    ratio = section.take("ratio", value.ratio, default.ratio)
    if default.max_ratio is None:
        return LimitRule(policy, ratio)
    max_ratio = section.take("maxRatio", value.ratio, default.max_ratio)
    if max_ratio >= ratio:
        return LimitRule(policy, ratio, max_ratio)
    section.note("maxRatio", f"maxRatio ({max_ratio:g}) is below ratio ({ratio:g}): raise maxRatio to at least the ratio")
    return replace(default, policy=policy)


def _risk(section: Section) -> RiskBudget:
    return RiskBudget(section.take("timeAboveRequest", value.small_share, None), section.take("oomKillsPer1000Days", value.kills, None))


def _apply_rule(section: Section, findings: Findings) -> tuple[ApplyRule, bool]:
    """The rule, and whether its strategy is known: one that is not may be wanted because it restarts nothing."""
    default = ApplyRule()
    strategy = section.take("strategy", value.one_of(ROLLOUT, IN_PLACE, ON_CREATE), default.strategy, instead="")
    fallback = section.take("fallback", value.one_of(ROLLOUT), "", instead="")
    rule = ApplyRule(
        strategy=strategy or default.strategy,
        minimum_change=section.take("minimumChange", value.share(maximum=100), default.minimum_change),
        lower_at_most_every_seconds=section.take("lowerAtMostEvery", value.duration, default.lower_at_most_every_seconds),
        windows=change_windows(section, findings),
        # Whoever writes it means false: true is the default.
        raise_outside_windows=section.take("raiseOutsideWindows", value.flag, default.raise_outside_windows, instead=False),
        fallback=fallback or None,
        # Where it cannot be read, nobody's fields are taken.
        take_ownership=section.take("takeOwnership", value.one_of(*TAKE_OWNERSHIP), default.take_ownership, instead=NEVER),
        max_concurrent=section.take(
            "maxConcurrent", value.count(maximum=value.MAX_CONCURRENT, minimum=1), default.max_concurrent, instead=1
        ),
        pause_after_failure_seconds=section.take("pauseAfterFailure", value.duration, default.pause_after_failure_seconds),
        verify=_verify_rule(section.section("verify")),
    )
    return rule, bool(strategy)


def _verify_rule(section: Section) -> VerifyRule:
    default = VerifyRule()
    return VerifyRule(
        period_seconds=section.take("period", value.duration, default.period_seconds),
        max_throttled=section.take("maxThrottled", value.share(maximum=100), default.max_throttled),
    )


def _evidence_rule(section: Section) -> EvidenceRule:
    default = EvidenceRule()
    return EvidenceRule(
        max_oom_kills=section.take("maxOOMKills", value.count(maximum=value.MAX_OOM_KILLS), default.max_oom_kills),
        max_time_above_request=section.take("maxTimeAboveRequest", value.share_in_tenths, default.max_time_above_request),
    )
