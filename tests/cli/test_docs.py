"""What the program has, the documentation has."""

from __future__ import annotations

import re
from pathlib import Path

from hermes_acp.cli import editors
from hermes_acp.cli.main import ENTRIES
from hermes_acp.config import FILE_ONLY, PREFIX, Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("editors/*/*.md")])


def test_every_command_stands_in_the_page_of_commands_and_no_other_does() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    named = set(re.findall(r"^\| `hermes-editor ([a-z]+)", page, re.MULTILINE))
    assert named == {entry.name for entry in ENTRIES}


def test_every_setting_stands_in_the_page_of_settings_with_its_variable() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| (?:`([A-Z_]+)`|[^|]+) \|", page, re.MULTILINE))
    wanted = {name: PREFIX + name.upper() for name in Settings.model_fields if name not in FILE_ONLY}
    assert rows == wanted | dict.fromkeys(FILE_ONLY, "")


def test_every_editor_stands_in_the_readme_and_in_the_page_of_editors() -> None:
    for page in (ROOT / "README.md", ROOT / "docs" / "editors.md"):
        text = page.read_text()
        assert [editor.name for editor in editors.known({}) if f"editors/{editor.name})" not in text] == []


def test_links_between_pages_lead_somewhere() -> None:
    dead = [
        f"{page.relative_to(ROOT)}: {link}"
        for page in PAGES
        for link in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text())
        if not (page.parent / link).exists()
    ]
    assert dead == []
