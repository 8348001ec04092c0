"""`hermes-editor doctor`: what works on this machine, and what to do about the rest."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from hermes_acp import config
from hermes_acp.cli import editors, models
from hermes_acp.cli.command import FAILURE, SUCCESS, Subparsers, table
from hermes_acp.llm.providers import is_loopback
from hermes_acp.memory.providers import opening
from hermes_acp.policy.rules.rules import visible
from hermes_acp.records import record
from hermes_acp.storage.database import Database, StorageError
from hermes_acp.storage.sessions import SessionTable
from hermes_acp.workspace.execution.sandbox import sandbox

OLDEST_PYTHON = (3, 11)
VERSION_SECONDS = 5.0
"""How long a program may take to say its version."""


@record
class Finding:
    """One check: `bad` keeps the agent from working, `note` does not."""

    what: str
    state: Literal["ok", "note", "bad"]
    detail: str


def register(subparsers: Subparsers) -> None:
    """Add the command's arguments."""
    parser = subparsers.add_parser("doctor", help="check what works here")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace, env: Mapping[str, str]) -> int:
    """Print the findings: 0, or 1 when something essential is missing."""
    paths = config.paths(env)
    findings = [
        _python(),
        _program("git", env, missing=Finding("git", "bad", "not found: install it")),
        _program("rg", env, missing=Finding("rg", "note", "not found: searching is slower without ripgrep")),
        *(_folder(name, folder) for name, folder in _folders(paths)),
        asyncio.run(_database(paths.database)),
        *_settings(env, paths.config_file),
        _editors(env),
        _sandbox(),
    ]
    if args.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        print(table([(finding.state, finding.what, finding.detail) for finding in findings]))
    return FAILURE if any(finding.state == "bad" for finding in findings) else SUCCESS


def _python() -> Finding:
    version = sys.version.split()[0]
    if sys.version_info < OLDEST_PYTHON:
        return Finding("python", "bad", f"{version}: 3.11 or newer is needed")
    return Finding("python", "ok", f"{version} ({sys.executable})")


def _program(name: str, env: Mapping[str, str], missing: Finding) -> Finding:
    found = shutil.which(name, path=env.get("PATH", ""))
    if found is None:
        return missing
    try:
        answer = subprocess.run(
            [found, "--version"], capture_output=True, text=True, timeout=VERSION_SECONDS, check=True, env=env
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError) as error:
        return Finding(name, missing.state, f"{found} does not work: {visible(str(error))}")
    return Finding(name, "ok", visible(answer.stdout.partition("\n")[0]))


def _folders(paths: config.Paths) -> tuple[tuple[str, Path], ...]:
    return (
        ("config", paths.config),
        ("data", paths.data),
        ("state", paths.state),
        ("runtime", paths.runtime),
    )


def _folder(name: str, folder: Path) -> Finding:
    """Whether we can write there; a missing folder is not made, its nearest parent is asked."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        return Finding(name, "bad", f"{folder} cannot be written: check the permissions of {existing}")
    return Finding(name, "ok", str(folder))


async def _database(file: Path) -> Finding:
    if not await asyncio.to_thread(file.exists):
        return Finding("database", "ok", f"{file} (not there yet: the first session makes it)")
    database = Database(file)
    try:
        page = await SessionTable(database).page()
    except StorageError as error:
        return Finding("database", "bad", str(error))
    finally:
        await database.close()
    more = " or more" if page.next_cursor else ""
    return Finding("database", "ok", f"{file} ({len(page.rows)}{more} sessions)")


def _settings(env: Mapping[str, str], file: Path) -> list[Finding]:
    try:
        settings = config.settings(env, file)
    except config.ConfigError as error:
        return [Finding("settings", "bad", str(error))]
    findings = [Finding("settings", "ok", str(file) if file.exists() else f"defaults (no {file})")]
    if settings.keys and file.exists() and file.stat().st_mode & 0o077:
        findings.append(Finding("keys", "note", f"others can read {file}: chmod 600 it"))
    findings += [_memory_service(service, settings) for service in settings.memory_services]
    default = asyncio.run(models.default(settings, env))
    if default.name is None:
        advice = "`hermes-editor --setup` sets one up"
        return [*findings, Finding("model", "bad", f"{default.reason}: {advice}")]
    return [*findings, Finding("model", "ok", f"{visible(default.name)} ({default.reason})")]


def _memory_service(service: config.MemoryService, settings: config.Settings) -> Finding:
    """What a memory service means for privacy, and whether it can be used; it is not asked anything."""
    what = f"memory {service.label}"
    if importlib.util.find_spec(opening.KINDS[service.kind].client) is None:
        return Finding(what, "note", opening.MISSING.format(kind=service.kind))
    if is_loopback(service.url):
        return Finding(what, "ok", f"{service.url}: on this machine, is told what you and the agent say")
    if not settings.allow_real_models:
        return Finding(what, "note", opening.SWITCHED_OFF.format(host=service.host))
    plain = " unencrypted" if service.url.startswith("http:") else ""
    said = f"what you and the agent say leaves this machine{plain}, without secrets"
    return Finding(what, "note", f"{service.url}: {said}")


def _sandbox() -> Finding:
    """Tries it out: nothing else can tell what the machine allows."""
    if (found := sandbox.working()) is None:
        return Finding("sandbox", "note", f"none, so mode auto asks for commands: {sandbox.lacking()}")
    if found.limits:
        return Finding("sandbox", "note", f"{found.name}; {found.limits}")
    return Finding("sandbox", "ok", f"{found.name}: tried, commands of mode auto are confined")


def _editors(env: Mapping[str, str]) -> Finding:
    found = [editor.title for editor in editors.known(env) if editor.is_installed(env)]
    if not found:
        return Finding("editors", "note", "none found: `hermes-editor setup` lists those we know")
    return Finding("editors", "ok", f"{', '.join(found)} (`hermes-editor setup` configures them)")
