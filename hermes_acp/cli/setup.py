"""`hermes-editor setup`: tell an editor how to start the agent."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from hermes_acp.cli import editors
from hermes_acp.cli.command import FAILURE, PROGRAM, SUCCESS, Subparsers, fail, table
from hermes_acp.cli.editors import AGENT, Editor, Entry, Source, Start
from hermes_acp.cli.json_entry import NotMergeable, merged
from hermes_acp.cli.whole_file import replace_file
from hermes_acp.records import record

NEW_FILE_MODE = 0o644


@record
class Plan:
    """The text of a file now (None: there is no file) and as it has to be."""

    before: str | None
    after: str


def register(subparsers: Subparsers) -> None:
    """Add the command's arguments."""
    description = "Without an editor: show which are installed and which know the agent."
    parser = subparsers.add_parser("setup", help="configure an editor", description=description)
    parser.add_argument("editor", nargs="?", choices=get_args(editors.Name), metavar="EDITOR")
    parser.add_argument("--print", action="store_true", help="print the configuration and change nothing")


def run(args: argparse.Namespace, env: Mapping[str, str]) -> int:
    """Show, print or write. Returns the exit code."""
    start = start_command(env)
    editor = next((editor for editor in editors.known(env) if editor.name == args.editor), None)
    if editor is None:
        return _overview(env, start)
    if args.print:
        print(snippet(editors.entry(editor.name, start, editor.file)), end="")
        return SUCCESS
    return _write(editor, editors.entry(editor.name, start, editor.file))


def start_command(env: Mapping[str, str]) -> Start:
    """How this installation is started from anywhere."""
    beside = Path(sys.executable).with_name(PROGRAM)
    if beside.is_file():
        return Start(str(beside))
    if found := shutil.which(PROGRAM, path=env.get("PATH", "")):
        return Start(str(Path(found).absolute()))
    return Start(sys.executable, ("-P", "-m", "hermes_acp", "acp"))


def snippet(entry: Entry | Source) -> str:
    """The configuration as text to paste."""
    if isinstance(entry, Source):
        return entry.text
    return json.dumps({entry.group: {AGENT: entry.value}}, indent=2, ensure_ascii=False) + "\n"


def _overview(env: Mapping[str, str], start: Start) -> int:
    rows = [("EDITOR", "INSTALLED", "AGENT", "FILE")]
    for editor in editors.known(env):
        installed = "yes" if editor.is_installed(env) else "no"
        state = _state(editor, editors.entry(editor.name, start, editor.file))
        rows.append((editor.name, installed, state, str(editor.file)))
    print(table(rows))
    print(f"\n`{PROGRAM} setup EDITOR` configures one; with --print it only shows what it would write.")
    return SUCCESS


def _state(editor: Editor, entry: Entry | Source) -> Literal["configured", "-", "cannot tell"]:
    try:
        plan = _plan(editor, entry)
    except (NotMergeable, OSError, UnicodeDecodeError):
        return "cannot tell"
    return "configured" if plan.before == plan.after else "-"


def _plan(editor: Editor, entry: Entry | Source) -> Plan:
    """Raises `NotMergeable`, `OSError` and `UnicodeDecodeError`."""
    before = None
    if editor.file.exists():
        with editor.file.open(encoding="utf-8", newline="") as file:
            before = file.read()
    if isinstance(entry, Source):
        return Plan(before, entry.text)
    return Plan(before, merged(before or "", entry.group, AGENT, entry.value))


def _write(editor: Editor, entry: Entry | Source) -> int:
    try:
        plan = _plan(editor, entry)
        if plan.before == plan.after:
            print(f"{editor.title} is configured already: {editor.file}")
        else:
            _replace(editor.file, plan)
    except (NotMergeable, UnicodeDecodeError) as error:
        return _by_hand(editor, entry, str(error))
    except OSError as error:
        return fail(f"{error.filename or editor.file} cannot be written: {error.strerror}.")
    if isinstance(entry, Source):
        print(f"If it is not there yet, add this line to your own configuration:\n\n  {entry.use}\n")
    print(editor.next_step)
    return SUCCESS


def _replace(file: Path, plan: Plan) -> None:
    mode = NEW_FILE_MODE
    if plan.before is not None:
        mode = file.stat().st_mode & 0o777
        backup = file.with_name(f"{file.name}.{time.strftime('%Y%m%d-%H%M%S')}.bak")
        shutil.copy2(file, backup)
        print(f"Kept the file as it was: {backup}")
    replace_file(file, plan.after, mode)
    print(f"Wrote {file}")


def _by_hand(editor: Editor, entry: Entry | Source, reason: str) -> int:
    print(f"{editor.file} was left alone, because {reason}.", file=sys.stderr)
    print("Merge this into it yourself:\n", file=sys.stderr)
    print(snippet(entry), end="")
    return FAILURE
