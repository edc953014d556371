"""What the documents say about commands, targets, codes and settings is true."""

from __future__ import annotations

import inspect
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from forecaster import errors
from forecaster.cli import app
from forecaster.cli.edge import explain
from forecaster.workspace import OTHER_VARIABLES

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def leaves(group: click.Group, words: str = "forecast") -> Iterator[str]:
    """Yield how every command that does something is written."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from leaves(command, f"{words} {name}")
        else:
            yield f"{words} {name}"


def table_of(heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading."""
    section = README.split(f"\n{heading}\n")[1]
    table = re.search(r"\n\|.*?\n\n", section, re.DOTALL)
    assert table is not None, heading
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table[0].strip().splitlines()[2:]
    ]


def test_readme_lists_exactly_the_commands_there_are():
    documented = [row[0].strip("`") for row in table_of("## Commands")]
    assert sorted(documented) == sorted(leaves(app.forecast))


def test_exit_codes_are_those_of_the_errors():
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, errors.ForecasterError)}
    documented = {int(code) for row in table_of("### Exit codes") for code in row[0].split(",")}
    assert documented == codes | {0, 2, 130, 141, 143}
    assert explain(KeyboardInterrupt(), app.Session()).code == 130  # type: ignore[union-attr]


def test_every_variable_that_is_no_setting_is_documented():
    assert [name for name in OTHER_VARIABLES if f"`{name}`" not in README] == []


def test_make_help_lists_every_target():
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    listed = subprocess.run(
        ["make"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    assert re.findall(r"make (\w+)", listed) == phony[1].split()


@pytest.mark.parametrize("path", sorted((REPOSITORY / "docs/decisions").glob("*.md")), ids=str)
def test_decisions_are_numbered_and_at_most_a_page(path: Path):
    number = re.match(r"(\d{4})-[a-z0-9-]+\.md", path.name)
    assert number is not None
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"# {int(number[1])}. ")
    assert len(text.splitlines()) <= 60


def test_decisions_have_different_numbers():
    numbers = [path.name[:4] for path in (REPOSITORY / "docs/decisions").glob("*.md")]
    assert len(numbers) == len(set(numbers))


def anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub makes of the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def leads_somewhere(document: Path, link: str) -> bool:
    """Tell whether a link of a document names a file that there is, and a heading in it."""
    name, _, anchor = link.partition("#")
    target = document.parent / name if name else document
    return target.exists() and (not anchor or anchor in anchors(target))


@pytest.mark.parametrize(
    "document",
    [
        REPOSITORY / "README.md",
        REPOSITORY / "CHANGELOG.md",
        *sorted((REPOSITORY / "docs").rglob("*.md")),
    ],
    ids=lambda path: path.name,
)
def test_links_between_the_documents_lead_somewhere(document: Path):
    text = document.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert links or document.name != "README.md"
    assert [link for link in links if not leads_somewhere(document, link)] == []
