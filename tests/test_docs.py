"""Docs live with the code: nothing stale, no command without a page, no link into nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from coldmark.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_reference_is_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "reference.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_command_has_its_page() -> None:
    text = (ROOT / "docs" / "reference" / "commands.md").read_text()
    for name in COMMANDS:
        assert f"## `coldmark {name}`" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_in_docs_exist(page: Path) -> None:
    for name in re.findall(r"^(?:\$ )?coldmark ([a-z]+)", page.read_text(), re.MULTILINE):
        assert name in COMMANDS, name
    for name in re.findall(r"^(?:\$ )?make ([a-z-]+)", page.read_text(), re.MULTILINE):
        assert f"\n{name}:" in (ROOT / "Makefile").read_text(), name
