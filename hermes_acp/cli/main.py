"""The commands of `hermes-editor`: finds the one that is meant, loads it alone and runs it."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import NoReturn, cast

from hermes_acp import __version__, config
from hermes_acp.cli.command import BAD_USAGE, INTERRUPTED, PROGRAM, SUCCESS, Command
from hermes_acp.records import record

SETUP = "--setup"
WIZARD = "hermes_acp.cli.wizard"


@record
class Entry:
    """A line of the help; a protocol has no module, because it is served before we get here."""

    name: str
    summary: str
    module: str = ""


ENTRIES = (
    Entry("acp", "speak the Agent Client Protocol on standard input and output (what editors start)"),
    Entry("lsp", "speak the Language Server Protocol likewise"),
    Entry(
        "server", "the server that all windows share: show, stop, restart, install", "hermes_acp.cli.server"
    ),
    Entry("attach", "a live session in this terminal, beside any editor", "hermes_acp.cli.attach.command"),
    Entry("run", "one turn without an editor", "hermes_acp.cli.run"),
    Entry("demo", "the whole loop on a sample project: no key, no network", "hermes_acp.cli.demo"),
    Entry("setup", "put the agent into an editor's configuration", "hermes_acp.cli.setup"),
    Entry("doctor", "what works here and what is missing", "hermes_acp.cli.doctor"),
    Entry(
        "sessions", "list, show, search, export and delete conversations", "hermes_acp.cli.sessions.command"
    ),
    Entry(
        "memory",
        "what is remembered of a project: list, why, edit, revert, forget, share, recall",
        "hermes_acp.cli.memory.command",
    ),
    Entry("models", "what can be used, which is the default, and why", "hermes_acp.cli.models"),
    Entry(
        "policy", "show, explain and revoke what the agent may do unasked", "hermes_acp.cli.policy.command"
    ),
    Entry(
        "project",
        "list, show, trust, move, join, forget and back up projects, land their worktrees",
        "hermes_acp.cli.project.command",
    ),
    Entry("config", "the settings in force and where they come from", "hermes_acp.cli.config"),
)


def main(argv: list[str]) -> int:
    """Run the command that `argv` names. Returns the exit code (see docs/cli.md)."""
    try:
        code = _dispatch(argv, config.environment())
        # What is still buffered meets a closed pipe here, where it can be handled, not at exit.
        sys.stdout.flush()
    except config.ConfigError as error:
        sys.stderr.write(f"{PROGRAM}: {error}\n")
        return BAD_USAGE
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has seen enough (`… | head`). Python flushes once more at exit: into nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return SUCCESS
    return code


def _dispatch(argv: list[str], env: Mapping[str, str]) -> int:
    protocols = {entry.name for entry in ENTRIES if not entry.module}
    words = [word for word in argv if word != "--standalone"]
    if words and words[0] in protocols and SETUP in words:
        # An editor appends `--setup` to the command that it starts otherwise.
        words = [SETUP]
    if not words or words[0] in ("-h", "--help", "help"):
        print(_parser(*ENTRIES).format_help(), end="")
        return SUCCESS
    if words == ["--version"]:
        print(f"{PROGRAM} {__version__}")
        return SUCCESS
    if words == [SETUP]:
        return cast("int", import_module(WIZARD).run(env))
    entry = next((entry for entry in ENTRIES if entry.name == words[0]), None)
    if entry is None:
        return _unknown(words[0])
    return _run(entry, words, env)


def _run(entry: Entry, words: list[str], env: Mapping[str, str]) -> int:
    try:
        if not entry.module:
            return _misuse(entry, words)
        # Only the chosen command is loaded: together they would make each of them start slowly.
        command = cast("Command", import_module(entry.module))
        parser = _parser()
        command.register(parser.add_subparsers(metavar="COMMAND", required=True))
        return command.run(parser.parse_args(words), env)
    except SystemExit as stop:
        # argparse ends the program after `--help` and after an error that it has printed.
        return stop.code if isinstance(stop.code, int) else BAD_USAGE


def _parser(*entries: Entry) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="A coding agent for editors. Started by an editor, without arguments, it speaks ACP.",
        epilog=f"`{PROGRAM} COMMAND --help` explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    parser.add_argument(SETUP, action="store_true", help="choose a model and enter its key, in this terminal")
    if entries:
        subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
        for entry in entries:
            subparsers.add_parser(entry.name, help=entry.summary, description=entry.summary)
    return parser


def _misuse(entry: Entry, words: list[str]) -> NoReturn:
    """A protocol that stands alone was served long ago: this one has an argument that it cannot take."""
    parser = _parser(entry)
    parser.parse_args(words)
    parser.error(f"{entry.name} takes no argument but --standalone and {SETUP}")


def _unknown(word: str) -> int:
    near = difflib.get_close_matches(word, [entry.name for entry in ENTRIES], n=1)
    advice = f"Did you mean {near[0]!r}?" if near else f"`{PROGRAM} --help` lists what there is."
    sys.stderr.write(f"{PROGRAM}: there is no command {word!r}. {advice}\n")
    return BAD_USAGE
