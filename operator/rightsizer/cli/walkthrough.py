"""The way to each number of a workload in numbered steps, for a person with a calculator.

The wording of the arithmetic is that of the method's own explanation; here stands around it what it was done with.
"""

from __future__ import annotations

from collections.abc import Iterator

from rightsizer.checks.differences import effective
from rightsizer.checks.moment import moment
from rightsizer.cli.assessing import DEFAULT_PROFILE_NAME, Assessed, Usage
from rightsizer.cli.table import requested
from rightsizer.cycle import Ruled
from rightsizer.history import SLOT_SECONDS
from rightsizer.methods.explanation import amount, whole_percent
from rightsizer.methods.patterns.presence import NOTICEABLY_THROTTLED
from rightsizer.methods.recommendation import Clamp, ContainerRecommendation, Explanation, Measurement
from rightsizer.methods.sizing import PEAK_LIMIT_RATIO, STEPS, top_ratio
from rightsizer.profile import DAY_SECONDS, DEFAULT_METHOD, LEARNED, LimitPolicy, LimitRule, Mode, Profile, ResourceRule
from rightsizer.quantities import format_days, format_duration, format_percentage, format_share_up
from rightsizer.status.change import change_figures
from rightsizer.status.sizes import quantity
from rightsizer.workload import RESOURCES, Container, ResourceName

_UNITS = {"cpu": "whole millicores", "memory": "whole Mi"}
_TITLES = {"cpu": "CPU", "memory": "Memory"}


def render(assessed: Assessed, usage: Usage) -> str:
    """The whole explanation of one workload."""
    lines = [
        *_head(assessed.ruled, usage),
        *(line for container in assessed.workload.sizable for line in _container(assessed, container, usage)),
        "",
        *_checks(assessed),
        *_savings(assessed),
        *_last_change(assessed),
    ]
    return "\n".join(lines)


def ignored(ruled: Ruled) -> str:
    """Why there is nothing to explain."""
    workload = ruled.workload
    why = "by its profile" if ruled.profile.mode is Mode.IGNORE else "by the annotation rightsizer.dev/mode of it or of its namespace"
    return f"{workload.ref} in namespace {workload.ref.namespace} is left alone: its mode is Ignore, {why}."


def _head(ruled: Ruled, usage: Usage) -> Iterator[str]:
    workload, profile = ruled.workload, ruled.profile
    pods = "1 pod" if workload.replicas == 1 else f"{workload.replicas} pods"
    guaranteed = ", of QoS class Guaranteed" if workload.guaranteed else ""
    yield f"{workload.ref} in namespace {workload.ref.namespace}: {pods}{guaranteed}"
    yield f"  profile   {_profile(profile)}, mode {ruled.mode}, method {profile.method}"
    yield from (f"            {text}" for text in ruled.effective.notes)
    yield f"  usage     {usage.origin}, up to {moment(usage.now)}, in slots of {SLOT_SECONDS // 60} minutes"


def _profile(profile: Profile) -> str:
    if profile.name == DEFAULT_PROFILE_NAME:
        return "the default one"
    return profile.title if profile.cluster_wide else profile.name


def _container(assessed: Assessed, container: Container, usage: Usage) -> Iterator[str]:
    yield ""
    yield f"Container {container.name}"
    found = assessed.standing.recommendations.get(container.name)
    if found is None:
        yield "  left alone: the profile's rule for this container is mode Ignore"
        return
    for resource in RESOURCES:
        explanation = found.explanation(resource)
        if explanation is None:
            window = format_duration(assessed.ruled.profile.window_seconds)
            why = found.troubles.get(resource) or f"no usage was seen in the last {window}"
            yield f"  {_TITLES[resource]}: {why}; nothing is recommended"
        else:
            yield _headline(container, found, resource)
            yield from _steps(explanation, assessed.ruled.profile, container, usage)
    for finding in found.findings:
        yield f"  {finding.type}: {finding.message}"
    yield from _evidence(assessed, container)


def _evidence(assessed: Assessed, container: Container) -> Iterator[str]:
    """What the replay showed, in whole sentences."""
    found, trouble = assessed.standing.evidence.get(container.name), assessed.standing.replay_troubles.get(container.name)
    if trouble and (found is None or not found.proves_anything):
        yield f"  Evidence: none, the replay failed: {trouble}"
        return
    if found is None:
        yield "  Evidence: none, too little was seen to replay this rule and judge it"
        return
    if not found.proves_anything:
        yield f"  Evidence: none, the replay could judge {format_days(found.days)} of the {format_days(found.least_days)} that are needed"
        return
    kills = found.memory.oom_events
    killed = "would not have been killed for memory" if not kills else f"would have come above its memory limit {_times(kills)}"
    yield f"  Evidence: had this rule been applied in the {format_days(found.days)} that were judged, each time by what was known then,"
    yield f"    the container {killed}, and {_changed(found.changes)};"
    for resource in RESOURCES:
        figures = found.figures(resource)
        if figures.judged_slots:
            mean = _mean(container, resource, figures.request)
            yield f"    {_TITLES[resource]} above the request for {format_share_up(figures.above)} of the time, {mean}"
    if trouble:
        yield f"    part of the replay failed: {trouble}"


def _changed(changes: float) -> str:
    return f"would have been changed {changes:.1f} times a day" if changes else "would not have been changed"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _mean(container: Container, resource: ResourceName, request: float) -> str:
    """The mean request, beside today's."""
    step = STEPS[resource]
    mean = f"with {_size(resource, round(request / step) * step)} requested in the mean"
    today = effective(container.sizes, resource, "request")
    if not today:
        return mean
    share = (today - request) / today
    if round(share, 2) == 0:
        return f"{mean}, as today"
    return f"{mean}, {abs(share):.0%} {'less' if share >= 0 else 'more'} than the {_size(resource, today)} of today"


def _headline(container: Container, found: ContainerRecommendation, resource: ResourceName) -> str:
    now, wanted = container.sizes, found.wanted
    request = f"{_size(resource, effective(now, resource, 'request'))} -> {_size(resource, effective(wanted, resource, 'request'))}"
    limit = f"{_size(resource, now.limit(resource))} -> {_size(resource, wanted.limit(resource))}"
    return f"  {_TITLES[resource]}: request {request}, limit {limit}"


def _steps(explanation: Explanation, profile: Profile, container: Container, usage: Usage) -> Iterator[str]:
    resource, found = explanation.resource, explanation.measurement
    rule = profile.rule_for(container.name).resource(resource)
    # The method's explanation is `measured; + buffer; what bounded it, if anything did; limit`.
    measured, target, *bounded, limit = explanation.text.split("; ")
    yield f"    1. measure  {measured}"
    yield f"                {_reach(found, now=usage.now)}"
    yield f"                {_meaning(resource)}; the highest was {amount(resource, found.peak)}"
    if found.throttled:
        yield f"                {_throttled(found)}"
    yield f"    2. {'margin' if explanation.learned else 'buffer'}   {amount(resource, found.value)} {target}"
    yield f"                a request is rounded up to {_UNITS[resource]}"
    yield f"    3. bounds   {'; '.join(bounded) or _within(resource, rule, explanation)}"
    yield f"    4. limit    {limit}"
    if explanation.limit_clamp is not Clamp.GUARANTEED:
        yield f"                {_limit_rule(rule.limit, profile)}"
    if explanation.choice:
        first, *rest = explanation.choice.split("; ")
        yield f"       choice   {first}"
        yield from (f"                {words}" for words in rest)
    yield f"       rule     {_place(profile, container, explanation)}"


def _reach(found: Measurement, *, now: float) -> str:
    slots, seconds = found.window_seconds // SLOT_SECONDS, found.history_seconds
    length = f"{seconds / DAY_SECONDS:.1f} days" if seconds >= 2 * DAY_SECONDS else f"{seconds / 3_600:.1f} hours"
    last = f"{moment(found.newest)} ({_age(now - found.newest)})"
    return f"the window has {slots:,} slots; the values reach over {length}, the last is of {last}"


def _age(seconds: float) -> str:
    minutes = max(int(seconds), 0) // 60
    if minutes < 120:
        return "1 minute ago" if minutes == 1 else f"{minutes} minutes ago"
    return f"{minutes // 60} hours ago"


def _throttled(found: Measurement) -> str:
    share, periods = whole_percent(found.throttled), format_percentage(NOTICEABLY_THROTTLED)
    return f"in {share} % of these slots it was throttled in more than {periods} of the CFS periods: usage then is a lower bound"


def _meaning(resource: ResourceName) -> str:
    if resource == "cpu":
        return "a value is the mean of its slot in the busiest pod"
    return "a value is the peak of its slot in the largest pod"


def _within(resource: ResourceName, rule: ResourceRule, explanation: Explanation) -> str:
    bounds = f"minimum {quantity(resource, rule.minimum)} and maximum {quantity(resource, rule.maximum)}"
    return f"{quantity(resource, explanation.request)} is within {bounds}"


def _limit_rule(rule: LimitRule, profile: Profile) -> str:
    if rule.policy is not LimitPolicy.RATIO:
        return f"policy {rule.policy}"
    if profile.method == LEARNED:
        return f"policy Ratio: {top_ratio(rule):g} x the request, the most that the rule allows"
    lifted = "" if rule.max_ratio is None else f", up to {rule.max_ratio:g} x where {PEAK_LIMIT_RATIO:g} x the peak asks for it"
    return f"policy Ratio: {rule.ratio:g} x the request{lifted}"


def _place(profile: Profile, container: Container, explanation: Explanation) -> str:
    resource = explanation.resource
    rule = profile.rule_for(container.name).resource(resource)
    # By a plug-in, its name stands in place of the rule's statistic.
    statistic = rule.told_statistic if profile.method in (DEFAULT_METHOD, LEARNED) else explanation.measurement.statistic
    where = f"spec.containers[{container.name}].{resource}" if container.name in profile.container_rules else f"spec.{resource}"
    what = LEARNED if explanation.learned else f"{statistic} + {format_percentage(rule.buffer)}"
    return f"{where} of the profile: {what} over {format_duration(profile.window_seconds)}"


def _checks(assessed: Assessed) -> Iterator[str]:
    standing = assessed.standing
    yield "Checks before a change"
    if not standing.changes:
        yield "  nothing would change"
        return
    for objection in standing.verdict.objections:
        fields = "everything" if objection.paths is None else ", ".join(sorted(str(path) for path in objection.paths))
        yield f"  {objection.reason}: {objection.message}"
        # Some messages end with the fields themselves.
        if not objection.message.endswith(f": {fields}"):
            yield f"    holds back: {fields}"
    allowed = ", ".join(str(change.path) for change in standing.verdict.allowed)
    yield f"  free to change: {allowed or 'nothing'}"
    if standing.mode is not Mode.APPLY:
        yield f"  mode {standing.mode}: nothing is changed by itself"


def _savings(assessed: Assessed) -> Iterator[str]:
    parts = [_saved(resource, *requested([assessed], resource)) for resource in RESOURCES]
    pods = "1 pod" if assessed.workload.replicas == 1 else f"all {assessed.workload.replicas} pods"
    yield f"Requests of {pods}: {', '.join(parts)}"


def _saved(resource: ResourceName, now: int, wanted: int) -> str:
    difference = quantity(resource, abs(now - wanted))
    outcome = f"saves {difference}" if wanted < now else f"costs {difference} more" if wanted > now else "the same"
    return f"{_TITLES[resource]} {quantity(resource, now)} -> {quantity(resource, wanted)} ({outcome})"


def _last_change(assessed: Assessed) -> Iterator[str]:
    change = assessed.standing.change
    if change is not None:
        what = change_figures(change) or "limits only"
        yield f"Last change: {moment(change.time)} by {change.strategy}, {change.outcome}: {what}; {change.message}"


def _size(resource: ResourceName, value: int | None) -> str:
    return "unset" if value is None else quantity(resource, value)
