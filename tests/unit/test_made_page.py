from __future__ import annotations

from pathlib import Path

import pytest

from tests.made_page import Marks, machine, machine_line

MARKS = Marks("<!-- made -->", "<!-- made ends -->")
B, E = MARKS.begin, MARKS.end


def test_what_stands_around_is_kept() -> None:
    assert MARKS.replaced(f"before\n{B}\nold\n{E}\nafter\n", "new\n", name="page") == f"before\n{B}\n\nnew\n\n{E}\nafter\n"


@pytest.mark.parametrize("former", ["", f"{B} only", f"{E} only"])
def test_a_page_without_marks_is_not_overwritten(former: str) -> None:
    with pytest.raises(ValueError, match=r"page\.md has lost its marks"):
        MARKS.replaced(former, "new", name="page.md")


def test_a_page_that_is_not_there_yet_is_begun(tmp_path: Path) -> None:
    file = tmp_path / "docs" / "page.md"
    for made in ("first", "second"):
        MARKS.write(file, made, new_page=f"# Title\n\n{B}\n{E}\n\nBy hand.\n")
    assert file.read_text() == f"# Title\n\n{B}\n\nsecond\n\n{E}\n\nBy hand.\n"


def test_the_machine_is_described() -> None:
    found = machine("Prometheus 3.1")
    assert " cores, " in found["processor"]
    assert found["memory"].endswith(" GiB")
    assert found["versions"].startswith("Rightsizer ")
    assert found["versions"].endswith(", Prometheus 3.1")
    assert not machine()["versions"].endswith(", ")
    assert machine_line({"a": "b", "c": "d"}) == "a: b; c: d."
