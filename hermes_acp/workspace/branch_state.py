"""What became of branches: merged, squashed, rebased, renamed or deleted. Reads, and changes nothing."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import field

from hermes_acp.records import record
from hermes_acp.workspace.git import GitError, Repository

LOOK_SECONDS = 20.0
"""How long one command of a look may take; what takes longer is not known this time."""
COMMITS_SEARCHED = 500
"""Commits of the default branch among which the changes of a branch are looked for, the newest ones."""
COMPARED = 50
"""Branches whose changes are looked for in one look."""
PATHS = 500
"""A branch that changes more files is compared with whole commits."""
NEW_BRANCHES = 50
"""New branches that are asked for a former name, first those at a commit that a branch is gone from."""
ENTRIES = 500
"""Entries of one log of a branch that are read, the newest ones."""

_HEADS = "refs/heads/"
_REMOTES = "refs/remotes/"
_REFS = ("for-each-ref", "--format=%(refname)%00%(objectname)%00%(symref)", _HEADS, _REMOTES)
_LOG = ("reflog", "show", f"-{ENTRIES}", "--format=%H%x00%gs")
_DIFF = ("--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--full-index", "--binary")
_USUAL = ("main", "master", "trunk", "develop")
_RENAMED = re.compile(r"Branch: renamed refs/heads/(.+) to refs/heads/(.+)")
_MERGED = re.compile(r"merge (\S+): ")
_OWN_WORK = re.compile(r"(?:commit|cherry-pick|revert|am)\b")


@record
class BranchState:
    """The branches of a repository now. All empty without a repository.

    `branch` is the one of this worktree, `head` its commit when it has none. `landed` has those commits
    that are in the `default` branch, themselves or by their changes; `worked` and `merged` the branches
    that got commits or were merged by hand since the last look, `renamed` new names by old ones.
    """

    default: str = ""
    branch: str = ""
    head: str = ""
    tips: Mapping[str, str] = field(default_factory=dict[str, str])
    landed: frozenset[str] = frozenset()
    worked: frozenset[str] = frozenset()
    merged: frozenset[str] = frozenset()
    renamed: Mapping[str, str] = field(default_factory=dict[str, str])


async def look(
    root: str,
    env: Mapping[str, str],
    before: Mapping[str, str] = {},
    wanted: Collection[str] = (),
    commits: Collection[str] = (),
) -> BranchState:
    """The branches of the repository at `root`. Raises `GitError` when git cannot tell.

    `before` has the last commit of each branch at the last look, `wanted` names those branches whose fate
    matters, and `commits` others of which it matters whether they are in the default branch.
    """
    return await _Look(Repository(root, env), before).state(wanted, commits)


class _Look:
    """One look at one repository; `before` is what the last one has found."""

    def __init__(self, git: Repository, before: Mapping[str, str]) -> None:
        self._git = git
        self._before = before

    async def state(self, wanted: Collection[str], commits: Collection[str]) -> BranchState:
        refs = [line.split("\0") for line in (await self._lines(*_REFS)) if line]
        tips = {name.removeprefix(_HEADS): tip for name, tip, _ in refs if name.startswith(_HEADS)}
        branch = "".join(await self._lines("symbolic-ref", "-q", "HEAD")).removeprefix(_HEADS)
        head = "" if branch else "".join(await self._lines("rev-parse", "-q", "--verify", "HEAD"))
        default = _remote_default(refs) or await self._default(tips, branch)
        targets = _targets(refs, default)
        merged = await self._merged_branches(targets)
        landed = {tips[name] for name in merged if name in tips}
        last = {name: tips.get(name, self._before.get(name, "")) for name in wanted}
        unsure = {commit for commit in (*last.values(), *commits) if commit} - landed
        landed |= await self._landed(sorted(unsure), targets)
        return BranchState(
            default=default,
            branch=branch,
            head=head,
            tips=tips,
            landed=frozenset(landed),
            worked=frozenset([name for name in wanted if name in tips and await self._worked(name)]),
            merged=frozenset(await self._said_merged(default)),
            renamed=await self._renamed(wanted, tips),
        )

    async def _default(self, tips: Mapping[str, str], branch: str) -> str:
        """The default branch of a repository whose remote names none."""
        configured = "".join(await self._lines("config", "--get", "init.defaultBranch"))
        named = [name for name in (configured, *_USUAL) if name in tips]
        if named:
            return named[0]
        common = "".join(await self._lines("rev-parse", "--path-format=absolute", "--git-common-dir"))
        main = await self._lines("--git-dir", common, "symbolic-ref", "-q", "HEAD") if common else []
        return "".join(main).removeprefix(_HEADS) or branch

    # --- whether work has landed ---------------------------------------------------------------------

    async def _merged_branches(self, targets: Iterable[str]) -> set[str]:
        """The branches that have no commit of which a target knows nothing."""
        found: set[str] = set()
        for target in targets:
            listing = ("for-each-ref", f"--merged={target}", "--format=%(refname)", _HEADS)
            found |= {line.removeprefix(_HEADS) for line in await self._lines(*listing)}
        return found

    async def _landed(self, commits: Iterable[str], targets: Collection[str]) -> set[str]:
        found: set[str] = set()
        for commit in [*commits][:COMPARED]:
            for target in targets:
                if commit not in found and await self._has(target, commit):
                    found.add(commit)
        return found

    async def _has(self, target: str, commit: str) -> bool:
        """Whether a commit is in the target, or everything that it brings."""
        base = "".join(await self._lines("merge-base", commit, target))
        if not base or base == target:
            return False
        if base == commit:
            return True
        try:
            return await self._rebased(target, commit, base) or await self._squashed(target, commit, base)
        except GitError:
            # Too much to compare: then nobody knows, and nothing is moved.
            return False

    async def _rebased(self, target: str, commit: str, base: str) -> bool:
        """Whether each commit since the base has its like in the target."""
        since = await self._lines("cherry", target, commit, base)
        return bool(since) and all(line.startswith("- ") for line in since)

    async def _squashed(self, target: str, commit: str, base: str) -> bool:
        """Whether one commit of the target makes the same changes as all since the base together."""
        listing = await self._git.tell(
            "diff", "--name-only", "-z", "--no-renames", base, commit, seconds=LOOK_SECONDS
        )
        paths = [path for path in listing.output.decode("utf-8", "surrogateescape").split("\0") if path]
        only = ["--", *(f":(literal,top){path}" for path in paths)] if 0 < len(paths) <= PATHS else []
        whole = await self._git.tell("diff", *_DIFF, base, commit, seconds=LOOK_SECONDS)
        wanted = await self._patch_ids(whole.output)
        search = ("log", "-p", "--no-merges", f"-{COMMITS_SEARCHED}", "--format=commit %H", *_DIFF)
        since = await self._git.tell(*search, f"{base}..{target}", *only, seconds=LOOK_SECONDS)
        return bool(wanted) and wanted <= await self._patch_ids(since.output)

    async def _patch_ids(self, patches: bytes) -> set[str]:
        answer = await self._git.tell("patch-id", "--stable", data=patches, seconds=LOOK_SECONDS)
        return {line.split(" ")[0] for line in answer.text.splitlines() if line}

    # --- what the logs say ---------------------------------------------------------------------------

    async def _worked(self, branch: str) -> bool:
        """Whether somebody committed on the branch since the last look."""
        return any(_OWN_WORK.match(action) for action in await self._since(branch))

    async def _said_merged(self, default: str) -> list[str]:
        """The branches that were merged into the default one by hand since the last look."""
        found = [_MERGED.match(action) for action in await self._since(default)]
        return [match[1] for match in found if match]

    async def _renamed(self, wanted: Iterable[str], tips: Mapping[str, str]) -> dict[str, str]:
        """New names of branches that are not there any more."""
        gone = set(wanted) - tips.keys()
        left = {self._before.get(name) for name in gone}
        new = sorted(tips.keys() - self._before.keys(), key=lambda name: (tips[name] not in left, name))
        found: dict[str, str] = {}
        for name in new[:NEW_BRANCHES] if gone else ():
            for _, action in await self._log(name):
                renamed = _RENAMED.fullmatch(action)
                if renamed and renamed[1] in gone:
                    found.setdefault(renamed[1], name)
        return found

    async def _since(self, branch: str) -> list[str]:
        """What was done to a branch since the last look; nothing where that is not known."""
        entries = await self._log(branch) if branch in self._before else []
        commits = [commit for commit, _ in entries]
        if self._before.get(branch) not in commits:
            return []
        return [action for _, action in entries[: commits.index(self._before[branch])]]

    async def _log(self, branch: str) -> list[tuple[str, str]]:
        """The commits of a branch and what was done to get there, the newest first."""
        lines = [line.partition("\0") for line in await self._lines(*_LOG, f"{_HEADS}{branch}", "--")]
        return [(commit, action) for commit, _, action in lines]

    async def _lines(self, *command: str) -> list[str]:
        """What a command says, line by line; nothing when it has no answer."""
        answer = await self._git.ask(*command, seconds=LOOK_SECONDS)
        return [] if answer.status else answer.text.splitlines()


def _remote_default(refs: Iterable[list[str]]) -> str:
    """The branch that the remote `origin` calls its own."""
    heads = [target for name, _, target in refs if name == f"{_REMOTES}origin/HEAD"]
    return heads[0].removeprefix(f"{_REMOTES}origin/") if heads else ""


def _targets(refs: Iterable[list[str]], default: str) -> list[str]:
    """The last commits of the default branch, here and at the remotes as they were seen last."""
    return sorted(
        {
            commit
            for name, commit, target in refs
            if name == f"{_HEADS}{default}"
            or (name.startswith(_REMOTES) and not target and name.split("/", 3)[3:] == [default])
        }
    )
