"""The method `Learned` as it sizes: what the walk over a container's past came to, within the bounds that every method has.

Where nothing was learned of a number yet, it is the one of `Measured`, and its explanation says so. How it is learned is not known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rightsizer.history import UsageWindow
from rightsizer.methods.measured import sized_by_rule
from rightsizer.methods.recommendation import ContainerFacts, ContainerRecommendation
from rightsizer.methods.sizing import top_ratio
from rightsizer.profile import LEARNED, ContainerRule, LimitPolicy, ResourceRule
from rightsizer.workload import RESOURCES

NOT_WALKED = "its past has not been walked through yet: until then by Measured, or as it was learned before"
TOO_LITTLE = "too little history to learn from and to judge by: until there is more by Measured"


@dataclass(frozen=True, slots=True)
class Learned:
    """A form and a margin for each container and resource, from its own past: see `ContainerFacts.learnt`."""

    name: str = LEARNED

    def recommend(self, usage: UsageWindow, facts: Sequence[ContainerFacts]) -> list[ContainerRecommendation]:
        """As every method does. Limits are as high as the rule allows, also where `Measured` stands in."""
        rules: dict[ContainerRule, ContainerRule] = {}
        for fact in facts:
            if fact.rule not in rules:
                rules[fact.rule] = replace(fact.rule, cpu=_with_top_limit(fact.rule.cpu), memory=_with_top_limit(fact.rule.memory))
        found = sized_by_rule(usage, [replace(fact, rule=rules[fact.rule]) for fact in facts])
        return [_told(fact, one) for fact, one in zip(facts, found, strict=True)]


def _told(fact: ContainerFacts, found: ContainerRecommendation) -> ContainerRecommendation:
    """Says of the numbers by `Measured` that they are."""
    for resource in RESOURCES:
        explanation = found.explanation(resource)
        if explanation is None or (fact.learnt is not None and resource in fact.learnt):
            continue
        told = replace(explanation, choice=NOT_WALKED if fact.learnt is None else TOO_LITTLE, provisional=fact.learnt is None)
        found = replace(found, cpu=told) if resource == "cpu" else replace(found, memory=told)
    return found


def _with_top_limit(rule: ResourceRule) -> ResourceRule:
    if rule.limit.policy is not LimitPolicy.RATIO:
        return rule
    return replace(rule, limit=replace(rule.limit, ratio=top_ratio(rule.limit)))
