"""Commits: the last ones, one by itself, and how their messages are written here."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from hermes_acp.policy.paths import secret
from hermes_acp.records import record
from hermes_acp.workspace.encoding import NotText, decode
from hermes_acp.workspace.git_sense import (
    REVISION_CHARS,
    GitTrouble,
    View,
    commit_of,
    head,
    open_view,
    told,
)
from hermes_acp.workspace.git_sense_changes import PATCH_CHARS, Report, Span, empty_tree, report
from hermes_acp.workspace.locations import printable

COMMITS = 100
"""Most commits of one listing."""

HABIT_COMMITS = 40
"""Commits whose messages tell the habits."""

MESSAGE_CHARS = 4_000
"""More of a message is cut."""

FILE_BYTES = 1024 * 1024
"""Larger files of a commit are named, not shown."""

TREE_ENTRIES = 300
"""Names of a folder of a commit that are listed."""

_FORMAT = "--format=%H%x1f%h%x1f%P%x1f%an%x1f%as%x1f%B"
_LOG = ("log", "-z", "--no-color", "--no-decorate", "--no-notes", "--no-patch", "--encoding=UTF-8", _FORMAT)
_FEW = 4
"""From fewer commits no habits are read."""


@record
class Commit:
    """One commit; `date` is the author's day, `body` the message without its subject."""

    id: str
    short: str
    parents: tuple[str, ...]
    author: str
    date: str
    subject: str
    body: str = ""

    @property
    def line(self) -> str:
        """The commit in one line."""
        return f"{self.short} {self.date} {self.author}: {self.subject}"


async def commits(
    view: View, count: int, revision: str = "", specs: tuple[str, ...] = ()
) -> tuple[Commit, ...]:
    """The last commits up to `revision` (or of a range `a..b`), newest first; empty before the first.

    Raises `GitTrouble`.
    """
    first, dots, last = revision.partition("..")
    if dots:
        sides = (f"^{await commit_of(view, first or 'HEAD')}", await commit_of(view, last or "HEAD"))
    else:
        start = await commit_of(view, revision) if revision else await head(view)
        if start is None:
            return ()
        sides = (start,)
    with told("The history cannot be read"):
        answer = await view.tell(*_LOG, f"--max-count={min(count, COMMITS)}", *sides, "--", *specs)
    records = answer.output.decode("utf-8", "replace").split("\0")
    return tuple(_commit(record) for record in records if record)


def _commit(record: str) -> Commit:
    oid, short, parents, author, date, message = record.lstrip("\n").split("\x1f", 5)
    subject, _, body = message.strip("\n").partition("\n")
    body = body.strip("\n")
    if len(body) > MESSAGE_CHARS:
        body = f"{body[:MESSAGE_CHARS]}\n[… {len(body) - MESSAGE_CHARS:,} more characters]"
    subject = printable(subject[:MESSAGE_CHARS])
    return Commit(oid, short, tuple(parents.split()), printable(author), date, subject, body)


async def show(view: View, commit: Commit, specs: tuple[str, ...] = (), room: int = PATCH_CHARS) -> Report:
    """A commit with its message and its changes against its first parent. Raises `GitTrouble`."""
    with told("The commit cannot be shown"):
        parent = commit.parents[0] if commit.parents else await empty_tree(view)
    merge = " (a merge, compared with its first parent)" if len(commit.parents) > 1 else ""
    message = "\n".join(filter(None, (f"commit {commit.line}", commit.body)))
    span = Span(f"Changes{merge}", (parent, commit.id), specs, secrets=bool(specs))
    found = await report(view, span, room - len(message))
    return Report(f"{message}\n{found.text}", found.files, (), found.cut)


async def show_object(view: View, name: str, room: int = PATCH_CHARS) -> str:
    """What `revision:path` names: the text of a file, or the names in a folder. Raises `GitTrouble`."""
    if len(name) > REVISION_CHARS or not name.isprintable():
        raise GitTrouble("The name is too long or has unprintable characters.")
    with told(f"{name} cannot be shown"):
        found = await view.ask("rev-parse", "--verify", "--quiet", "--end-of-options", name)
        if found.status:
            raise GitTrouble(f"There is no {name!r} here: write REVISION:PATH, with the path from the top.")
        kind = (await view.tell("cat-file", "-t", found.text)).text
        if kind == "tree":
            return await _folder(view, name, found.text)
        size = int((await view.tell("cat-file", "-s", found.text)).text)
        if size > FILE_BYTES:
            return f"{name}: {size:,} bytes, too large to be shown"
        data = (await view.tell("cat-file", kind, found.text)).output
    try:
        text = decode(data).text
    except NotText as error:
        return f"{name}: {size:,} bytes, {error}"
    cut = f"\n[… {len(text) - room:,} more characters]" if len(text) > room else ""
    return f"{name} ({len(text.splitlines())} lines)\n{text[:room]}{cut}"


def hides(name: str) -> bool:
    """Whether `revision:path` names a file that may hold secrets."""
    return secret(name.partition(":")[2])


async def _folder(view: View, name: str, tree: str) -> str:
    listed = (await view.tell("ls-tree", "--name-only", "-z", tree)).output.decode("utf-8", "replace")
    names = [printable(entry) for entry in listed.split("\0") if entry]
    more = f"\n[{len(names) - TREE_ENTRIES} more]" if len(names) > TREE_ENTRIES else ""
    return f"{name} (folder)\n" + "\n".join(names[:TREE_ENTRIES]) + more


# --- habits --------------------------------------------------------------------------------------

_TYPED = re.compile(
    r"(build|chore|ci|docs|feat|fix|perf|refactor|revert|style|test|wip)(\([^)]*\))?!?: (?P<rest>.*)"
)
_AREA = re.compile(r"[\w./+-]{1,40}: (?P<rest>.*)")
_TAG = re.compile(r"\[[^\]]{1,40}\] (?P<rest>.*)")
_TICKET = re.compile(r"\b[A-Z][A-Z0-9]{1,9}-\d+\b|\(?#\d+\)?")
_MERGE = re.compile(r"Merge (?:branch|pull request|remote|tag|commit)|Revert \"")


async def surroundings(root: str, env: Mapping[str, str]) -> str:
    """Lines for a model that may commit here: what is unfinished, how messages are written; or nothing."""
    try:
        view = await open_view(root, (root,), env)
        habit = "" if view.borrowed else habits(await commits(view, HABIT_COMMITS))
        operation = await view.tree.operation()
    except GitTrouble:
        return ""
    unfinished = f"a {operation} is in progress" if operation else ""
    return "\n".join(filter(None, (unfinished, habit)))


def habits(log: Sequence[Commit]) -> str:
    """How commit messages are written here, in one line; empty when there are too few to tell."""
    own = [commit for commit in log if len(commit.parents) < 2 and not _MERGE.match(commit.subject)]
    if len(own) < _FEW:
        return ""
    form, rests = _form([commit.subject for commit in own])
    facts = [form, _case(rests), f"at most {_usual_length(own)} characters"]
    if _mostly(commit.subject.endswith(".") for commit in own):
        facts.append("ending with a full stop")
    tickets = [found[0] for commit in own if (found := _TICKET.search(commit.subject))]
    if len(tickets) * 2 > len(own):
        facts.append(f"with a reference such as {tickets[0]}")
    facts.append("with a body" if _mostly(bool(_prose(commit.body)) for commit in own) else "mostly no body")
    if _mostly("Signed-off-by:" in commit.body for commit in own):
        facts.append("signed off")
    return f"commit messages here: {', '.join(filter(None, facts))}"


def _form(subjects: Sequence[str]) -> tuple[str, list[str]]:
    """The form that most subjects have, and the subjects without it."""
    for pattern in (_TYPED, _AREA, _TAG):
        found = [match for subject in subjects if (match := pattern.fullmatch(subject))]
        if len(found) * 10 >= len(subjects) * 6:
            starts = Counter(match.string[: match.start("rest")].strip() for match in found)
            usual = ", ".join(f"`{start}`" for start, _ in starts.most_common(3))
            name = "Conventional Commits" if pattern is _TYPED else "subjects with a prefix"
            return f"{name} ({usual})", [match["rest"] for match in found]
    return "plain subjects", list(subjects)


def _case(subjects: Sequence[str]) -> str:
    if _mostly(subject[:1].isupper() for subject in subjects):
        return "capitalised"
    return "in lower case" if _mostly(subject[:1].islower() for subject in subjects) else ""


def _usual_length(log: Sequence[Commit]) -> int:
    """What nine of ten subjects keep to."""
    lengths = sorted(len(commit.subject) for commit in log)
    return lengths[(len(lengths) * 9 - 1) // 10]


def _prose(body: str) -> str:
    """A body without trailers."""
    lines = (line for line in body.splitlines() if not re.match(r"[A-Z][\w-]+: ", line))
    return "".join(lines).strip()


def _mostly(facts: Iterable[bool]) -> bool:
    seen = list(facts)
    return sum(seen) * 10 >= len(seen) * 7
