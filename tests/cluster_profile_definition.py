"""Writes the definition of ClusterResourceProfile from that of ResourceProfile, whose spec it has, and `namespaceSelector` besides.

Kubernetes has no way for two definitions to share a schema, so the second one is a copy. It is made from the text, so that the comments
come along; a test compares the file with what comes from here.
"""

from __future__ import annotations

from itertools import dropwhile, takewhile
from pathlib import Path

CRDS = Path(__file__).parents[1] / "crds"
SOURCE = CRDS / "resourceprofiles.yaml"
TARGET = CRDS / "clusterresourceprofiles.yaml"

_HEAD = """\
# Made by `make crds` from resourceprofiles.yaml: edit that one.
# The rule by which workloads of many namespaces are sized: the spec of a ResourceProfile, and which namespaces.
"""

_SELECTOR = """\
                namespaceSelector:
                  type: object
                  description: >-
                    Labels of the namespaces whose workloads this profile may rule; a label with its name,
                    kubernetes.io/metadata.name, is on every namespace. What is written selects exactly what it says, `{}` every
                    namespace. Where nothing is written, all but kube-system, kube-public, kube-node-lease and namespaces with
                    the label app.kubernetes.io/name=rightsizer, as that of the operator has.
"""

_NAMESPACES = """\
                namespaces:
                  type: integer
                  format: int32
                  description: Namespaces that this profile selects. Absent with mode Ignore.
                  minimum: 0
"""

_COLUMN = """\
        - name: Namespaces
          type: integer
          description: Namespaces that this profile selects.
          jsonPath: .status.namespaces
"""

_DESCRIPTION = """\
            A ClusterResourceProfile says which workloads of which namespaces are sized, by which rule, and whether the result
            is only recommended or also applied. All fields have defaults: `spec: {}` recommends for every workload of every
            namespace but those of the system. A ResourceProfile of their own namespace comes before it; when two
            ClusterResourceProfiles match one workload, the older one rules it.
"""

_WORDS = (
    ("name: resourceprofiles.rightsizer.dev", "name: clusterresourceprofiles.rightsizer.dev"),
    ("scope: Namespaced", "scope: Cluster"),
    ("kind: ResourceProfile\n", "kind: ClusterResourceProfile\n"),
    ("listKind: ResourceProfileList", "listKind: ClusterResourceProfileList"),
    ("plural: resourceprofiles", "plural: clusterresourceprofiles"),
    ("singular: resourceprofile\n", "singular: clusterresourceprofile\n"),
    ("shortNames: [rp]", "shortNames: [crp]"),
    (
        "Workloads that this profile rules: kind and labels fit, and no older profile matches them.",
        "Workloads that this profile rules: namespace, kind and labels fit, and no profile that comes before it matches them.",
    ),
)


def definition(source: str) -> str:
    """The text of the one from the text of the other. Raises ValueError where that does not have the expected parts."""
    text = _HEAD + _after_comment(source)
    for old, new in _WORDS:
        text = _replaced(text, old, new)
    old_description = _between(text, "          type: object\n          description: >-\n", "          properties:\n            spec:\n")
    text = _replaced(text, old_description, _DESCRIPTION)
    text = _before(
        text, "                workloads:\n                  type: object\n                  description: Which", _selector(source)
    )
    text = _before(text, "                workloads:\n                  type: object\n                  description: How many", _NAMESPACES)
    return _before(text, "        - name: Workloads\n", _COLUMN)


def _selector(source: str) -> str:
    """That of workloads, two steps to the left, with the words of namespaces."""
    begin, inside = "                    selector:\n", " " * 22
    lines = source[source.index(begin) + len(begin) :].splitlines(keepends=True)
    block = list(takewhile(lambda line: line.startswith(inside), lines))
    body = dropwhile(lambda line: not line.startswith(f"{inside}x-kubernetes-map-type"), block)
    shifted = "".join(line.removeprefix("    ") for line in body)
    return _SELECTOR + shifted.replace("the workload's labels", "the namespace's labels").replace("workload", "namespace")


def _after_comment(source: str) -> str:
    lines = source.splitlines(keepends=True)
    return "".join(lines[next(index for index, line in enumerate(lines) if line.startswith("# Formats")) :])


def _between(text: str, begin: str, end: str) -> str:
    start = text.index(begin) + len(begin)
    return text[start : text.index(end, start)]


def _before(text: str, place: str, more: str) -> str:
    return _replaced(text, place, more + place)


def _replaced(text: str, old: str, new: str) -> str:
    if text.count(old) != 1:
        raise ValueError(f"{SOURCE.name}: {old!r} is there {text.count(old)} times, and should be once")
    return text.replace(old, new)


if __name__ == "__main__":
    TARGET.write_text(definition(SOURCE.read_text()))
