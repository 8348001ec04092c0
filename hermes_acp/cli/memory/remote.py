"""`memory publish` and `pull`: the project's facts at a git remote that the user names, merged fact by fact.

They are the commits of `refs/hermes/memory` there, each with the facts that held when it was made. This is
the one place where the memory speaks to a network, with the user's own git and credentials.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from hermes_acp.cli.command import SUCCESS, Subparsers, fail
from hermes_acp.cli.memory.desk import Desk
from hermes_acp.cli.memory.sharing import take_in
from hermes_acp.cli.screen import one_line, safe
from hermes_acp.cli.sessions.store import print_json
from hermes_acp.memory.facts import telling
from hermes_acp.memory.facts.fact import BadFact, Fact, format_file, name_of, parse_file
from hermes_acp.memory.scopes import PROJECT
from hermes_acp.records import record
from hermes_acp.storage.fact_commits import RepositoryError

REF = "refs/hermes/memory"
SECONDS = 120.0
"""How long one command of git may take."""
ATTEMPTS = 3
"""Times that facts are published anew because somebody else published meanwhile."""
SAFE = ("core.hooksPath=/dev/null", "protocol.ext.allow=never", "core.fsmonitor=false")
NO_REMOTE = (
    "There is no remote {named} and no folder of that name here: `git remote -v` lists the remotes, a URL "
    "or a path will do, too."
)
AGREED = "Publish these to {remote}, for everybody who can read it? [y/N] "


@record
class _Remote:
    """A repository of our own for a moment, with what the remote has; `tip` is empty where it has nothing."""

    folder: str
    url: str
    env: Mapping[str, str]
    tip: str = ""


def register(actions: Subparsers) -> tuple[argparse.ArgumentParser, ...]:
    """Add the arguments of these actions."""
    publish = actions.add_parser("publish", help=f"push the project's facts to {REF} of a remote")
    publish.add_argument("--yes", action="store_true", help="do not ask")
    pull = actions.add_parser("pull", help="take in what others have published, fact by fact")
    for action in (publish, pull):
        action.add_argument("remote", metavar="REMOTE", help="a remote of the repository, a URL or a path")
    return publish, pull


async def publish(args: argparse.Namespace, desk: Desk) -> int:
    """Push what holds in the whole project. Raises `RepositoryError`."""
    ours = [_public(fact) for fact in (await desk.all()).values() if fact.scope == PROJECT and fact.stands]
    if not ours:
        return fail("Nothing holds in this project yet, so nothing was published.")
    listing = "\n".join(telling.line(fact) for fact in ours)
    if not args.yes and not await asyncio.to_thread(_agreed, listing, args.remote):
        return fail("Nothing was published: answer y, or add --yes.")
    gone = [fact.id for fact in (await desk.all()).values() if not fact.stands]
    count = await asyncio.to_thread(_publish, ours, gone, args.remote, desk)
    if args.json:
        print_json({"published": count, "ref": REF})
    else:
        print(f"Published {count} facts to {REF} of {safe(args.remote)}.")
    return SUCCESS


async def pull(args: argparse.Namespace, desk: Desk) -> int:
    """Take in what is there: new facts, and newer versions of known ones. Raises `RepositoryError`."""
    facts, problems = await asyncio.to_thread(_fetched, args.remote, desk)
    return await take_in(desk, facts, problems, as_json=args.json)


def _public(fact: Fact) -> Fact:
    """A fact as others get it: without the words of private conversations."""
    return replace(fact, evidence=tuple(replace(item, quote="") for item in fact.evidence))


def _agreed(listing: str, remote: str) -> bool:
    """Ask a person; nobody there is a no."""
    if not sys.stdin.isatty():
        return False
    question = AGREED.format(remote=one_line(remote))
    print(f"{safe(listing)}\n{question}", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


# --- git; all of it blocks ----------------------------------------------------------------------


def _publish(ours: Iterable[Fact], gone: Iterable[str], named: str, desk: Desk) -> int:
    for attempt in range(1, ATTEMPTS + 1):
        with tempfile.TemporaryDirectory(prefix="hermes-memory-") as folder:
            remote = _fetch(folder, named, desk)
            theirs = {fact.id: fact for fact in _facts(remote)[0]}
            newer = [fact for fact in ours if fact.id not in theirs or theirs[fact.id].updated < fact.updated]
            removed = [fact_id for fact_id in gone if fact_id in theirs]
            if not newer and not removed:
                return len(theirs)
            _git(remote, "fast-import", "--quiet", data=_stream(remote, newer, removed))
            try:
                _git(remote, "push", "--quiet", "--", remote.url, f"refs/heads/new:{REF}")
            except RepositoryError:
                if attempt == ATTEMPTS:
                    raise
            else:
                return len((theirs.keys() | {fact.id for fact in newer}) - set(removed))
    raise AssertionError("the last attempt returns or raises")


def _fetched(named: str, desk: Desk) -> tuple[list[Fact], list[str]]:
    with tempfile.TemporaryDirectory(prefix="hermes-memory-") as folder:
        remote = _fetch(folder, named, desk)
        if not remote.tip:
            raise RepositoryError(f"Nothing was published at {one_line(named)} yet.")
        facts, problems = _facts(remote)
    # Somebody else's user is not ours.
    return [replace(fact, author="import", scope=PROJECT) for fact in facts], problems


def _fetch(folder: str, named: str, desk: Desk) -> _Remote:
    """What the remote has now. Raises `RepositoryError`."""
    remote = _Remote(folder, _url(named, desk), desk.env)
    _git(remote, "init", "--quiet", "--bare")
    listed = _git(remote, "ls-remote", "--", remote.url, REF).split()
    if not listed:
        return remote
    _git(remote, "fetch", "--quiet", "--depth=1", "--no-tags", "--", remote.url, f"+{REF}:refs/heads/new")
    return replace(remote, tip=_git(remote, "rev-parse", "refs/heads/new").strip())


def _url(named: str, desk: Desk) -> str:
    """Where a remote is that the user's repository has under this name; anything else is a place itself."""
    if named.startswith("-"):
        raise RepositoryError(f"{one_line(named)} is no remote.")
    asked = _run(("-C", desk.cwd, "config", "--get", f"remote.{named}.url"), desk.env, b"")
    url = asked.stdout.decode("utf-8", "replace").strip()
    path = Path(desk.cwd, named)
    if not (url or path.exists() or set(named) & {"/", ":"}):
        raise RepositoryError(NO_REMOTE.format(named=one_line(named)))
    return url or (str(path) if path.exists() else named)


def _facts(remote: _Remote) -> tuple[list[Fact], list[str]]:
    """The facts at the remote's tip, and a sentence for each file that holds none."""
    if not remote.tip:
        return [], []
    entries = _git(remote, "ls-tree", "-r", "-z", "--full-tree", remote.tip, "facts/").split("\0")
    facts: list[Fact] = []
    problems: list[str] = []
    blobs = [(entry.split()[2], entry.partition("\t")[2]) for entry in entries if entry]
    for text, (_, path) in zip(_texts(remote, [oid for oid, _ in blobs]), blobs, strict=True):
        try:
            fact = parse_file(text)
            if path != name_of(fact.id):
                raise BadFact("It has the name of another fact.")
            facts.append(fact)
        except BadFact as error:
            problems.append(f"{path} was left out. {error}")
    return facts, problems


def _texts(remote: _Remote, blobs: list[str]) -> list[str]:
    output = _git_bytes(remote, "cat-file", "--batch", data="\n".join((*blobs, "")).encode())
    texts: list[str] = []
    for _ in blobs:
        head, _, output = output.partition(b"\n")
        size = int(head.split()[2])
        texts.append(output[:size].decode("utf-8", "replace"))
        output = output[size + 1 :]
    return texts


def _stream(remote: _Remote, facts: Iterable[Fact], removed: Iterable[str]) -> bytes:
    message = b"Publish what is known of the project\n"
    parts = [
        b"commit refs/heads/new\n",
        b"committer hermes-editor <hermes-editor@localhost> %d +0000\n" % int(time.time()),
        b"data %d\n%b\n" % (len(message), message),
        b"from %b\n" % remote.tip.encode() if remote.tip else b"",
    ]
    for fact in facts:
        text = format_file(fact).encode()
        parts.append(b"M 100644 inline %b\ndata %d\n%b\n" % (name_of(fact.id).encode(), len(text), text))
    parts += [b"D %b\n" % name_of(fact_id).encode() for fact_id in removed]
    return b"".join(parts)


def _git(remote: _Remote, *command: str, data: bytes = b"") -> str:
    return _git_bytes(remote, *command, data=data).decode("utf-8", "replace")


def _git_bytes(remote: _Remote, *command: str, data: bytes = b"") -> bytes:
    """What a command says. Raises `RepositoryError` with git's own complaint."""
    done = _run(("--git-dir", remote.folder, *command), remote.env, data)
    if done.returncode:
        complaint = done.stderr.decode("utf-8", "replace").strip()
        raise RepositoryError(f"git {command[0]} failed: {one_line(complaint)}")
    return done.stdout


def _run(
    arguments: tuple[str, ...], env: Mapping[str, str], data: bytes
) -> subprocess.CompletedProcess[bytes]:
    settings = [word for setting in SAFE for word in ("-c", setting)]
    try:
        return subprocess.run(
            ["git", *settings, *arguments],
            env=dict(env),
            input=data,
            capture_output=True,
            check=False,
            timeout=SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RepositoryError(f"git cannot be used: {error}") from error
