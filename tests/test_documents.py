"""What the documents show must be true: examples run, commands parse, links lead somewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def blocks(path: Path, language: str) -> list[str]:
    """The fenced code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("number", range(len(blocks(ROOT / "CONTRIBUTING.md", "python"))))
def test_examples_for_contributors_run(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = blocks(ROOT / "CONTRIBUTING.md", "python")[number]
    exec(compile(code, f"CONTRIBUTING.md example {number}", "exec"), {"__name__": "example"})


def commands() -> list[list[str]]:
    lines = [line for path in DOCUMENTS for block in blocks(path, "bash") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("m2ugen ")]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_commands_in_the_documents_parse(command: list[str]) -> None:
    typer = pytest.importorskip("typer")
    from m2ugen.cli.app import app

    parser = typer.main.get_command(app)
    context = None
    arguments = command[1:]
    while hasattr(parser, "get_command"):
        context = parser.make_context(parser.name or "m2ugen", arguments[:1], resilient_parsing=True, parent=context)
        name, *arguments = arguments
        parser = parser.get_command(context, name)
        assert parser is not None, f"there is no command {name!r}"
    parser.make_context(command[1], arguments, parent=context)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (path.parent / target).exists(), target


def test_lock_and_package_agree() -> None:
    tomllib = pytest.importorskip("tomllib")
    requirement = pytest.importorskip("packaging.requirements").Requirement
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    locked = [line.split("==") for line in lines if line and not line.startswith("#")]
    versions = dict(locked)
    assert locked[0][0] == "torch"  # everything after it must find it
    wanted = [*project["dependencies"], *project["optional-dependencies"]["train"]]
    for each in map(requirement, wanted):
        assert each.specifier.contains(versions[each.name.lower().replace("_", "-")]), each


def test_hooks_and_scripts_are_well_formed() -> None:
    assert yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    for script in [*ROOT.glob("scripts/*.sh"), ROOT / ".ci" / "run"]:
        assert script.stat().st_mode & 0o100, f"{script.name} is not executable"
        subprocess.run(["bash", "-n", str(script)], check=True)


def test_benchmark_explains_itself() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "nano.py"), "--help"]
    assert "peak" in subprocess.run(command, check=True, capture_output=True, text=True).stdout
