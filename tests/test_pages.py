"""Pages written from measurements: what all of them refuse, and that a refusal changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddtasnet_edge.benchmarks.performance_page import PAGE as PERFORMANCE
from ddtasnet_edge.evaluation.quality_page import PAGE as QUALITY
from ddtasnet_edge.pages import Page, Section, Values

PAGES = {page.title: page for page in (PERFORMANCE, QUALITY)}
SECTIONS = [(title, name) for title, page in PAGES.items() for name in page.sections]


def draw(found: list[Values], folder: Path) -> str:
    """A section with a picture; its files hold {"figure": number}."""
    text = " ".join(str(values["figure"]) for values in found)
    (folder / "picture.png").write_text(text)
    return f"## Figures\n\n{text}"


#: A page of its own: pictures come before a section that may be refused.
OWN = Page("own.page", "Own", "Preface.", {name: Section(draw, "measure", several=True) for name in ("first", "last")})


def error(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    return line


def written(folder: Path, **texts: str) -> dict[str, str]:
    """Files by name; their paths."""
    for name, text in texts.items():
        (folder / f"{name}.json").write_text(text)
    return {name: str(folder / f"{name}.json") for name in texts}


def test_a_page_has_its_command_and_its_sections_in_their_order(tmp_path: Path) -> None:
    paths = written(tmp_path, a='{"figure": 1}', b='{"figure": 2}', c='{"figure": 3}')
    out = tmp_path / "OWN.md"
    assert OWN.main(["--last", paths["c"], "--first", paths["a"], paths["b"], "--out", str(out)]) == 0
    assert out.read_text() == (
        "# Own\n\nPreface.\n\n```sh\npython -m own.page \\\n    --first a.json b.json \\\n    --last c.json \\\n"
        "    --out docs/OWN.md\n```\n\n## Figures\n\n1 2\n\n## Figures\n\n3\n"
    )
    assert (tmp_path / "picture.png").read_text() == "3"


def test_a_bad_file_is_named_among_good_ones_and_nothing_is_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = written(tmp_path, good='{"figure": 1}', bad='{"number": 2}')
    out, picture = tmp_path / "OWN.md", tmp_path / "picture.png"
    out.write_text("page before")
    picture.write_text("picture before")
    assert OWN.main(["--first", paths["good"], "--last", paths["good"], paths["bad"], "--out", str(out)]) == 2
    assert error(capsys) == f"error: --last is {paths['bad']}: 'figure' is missing; give what measure --json wrote"
    assert (out.read_text(), picture.read_text()) == ("page before", "picture before")


@pytest.mark.parametrize(("title", "name"), SECTIONS)
@pytest.mark.parametrize("text", ["{}", "3", '[{"model": "tiny"}]', '{"results": [], "machine": {}, "tracks": []}'])
def test_a_file_of_another_kind_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], title: str, name: str, text: str
) -> None:
    (path,) = written(tmp_path, other=text).values()
    out = tmp_path / "PAGE.md"
    assert PAGES[title].main([f"--{name}", path, "--out", str(out)]) == 2
    line = error(capsys)
    assert line.startswith(f"error: --{name} is {path}: ")
    assert line.endswith(f"give what {PAGES[title].sections[name].origin} --json wrote")
    assert [each.name for each in tmp_path.iterdir()] == ["other.json"]


def test_no_file_no_json_and_no_folder_are_one_line_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "PAGE.md")
    assert OWN.main(["--out", out]) == 2
    assert "give at least one of --first, --last" in error(capsys)
    (broken,) = written(tmp_path, broken="{").values()
    assert OWN.main(["--first", broken, "--out", out]) == 2
    assert f"cannot read {broken}" in error(capsys)
    assert OWN.main(["--first", broken, "--out", str(tmp_path / "absent" / "PAGE.md")]) == 2
    assert "make it first" in error(capsys)
