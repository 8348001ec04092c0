"""Putting prepared files in the place of others, all or none, with a journal that outlives a crash.

A swap is a folder: the contents of before and after, and last a `journal.json` that begins it.
While that file is there, `undo` brings everything back. Removing it is what makes the swap done.
Everything here blocks: call it in a thread.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from hermes_acp.storage.files import place, sync
from hermes_acp.workspace.locations import printable
from hermes_acp.workspace.worktrees_included import clone

JOURNAL = "journal.json"
ABSENT = "absent"
FOLDER = "folder"
OTHER = "neither file nor link"
_PIECE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Exchange:
    """One path below the root, and the fingerprints of what was there and of what shall be there."""

    path: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Swap:
    """Files to exchange below the real path `root`; the contents lie in `folder`."""

    folder: Path
    root: Path
    exchanges: tuple[Exchange, ...]


class Changed(Exception):
    """A file is not what it was when the swap was prepared; `path` names it."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{printable(path)} changed meanwhile")
        self.path = path


def prepare(folder: Path, root: Path, paths: Sequence[str], after: Path) -> Swap:
    """Copy what is at `paths` now, beside the wanted files below `after`, and write the journal.

    A path that `after` does not have will be removed. Nothing below `root` is changed. Raises
    `OSError`, and `Changed` for what is no ordinary file or is reached through a link.
    """
    before = folder / "before"
    before.mkdir(parents=True)
    exchanges: list[Exchange] = []
    leaving = {path for path in paths if fingerprint(after / path) in (ABSENT, FOLDER)}
    for number, path in enumerate(paths):
        copy, wanted = before / str(number), _wanted(folder, number)
        if reachable(root, path):
            _keep(root / path, copy, durable=True)
            if not _equal(fingerprint(copy), fingerprint(root / path)):
                raise Changed(path)
        elif not any(str(parent) in leaving for parent in Path(path).parents):
            raise Changed(path)
        _keep(after / path, wanted, durable=False)
        _adopt_mode(copy, wanted)
        exchanges.append(Exchange(path, fingerprint(copy), fingerprint(wanted)))
    swap = Swap(folder, root, tuple(exchanges))
    _write_journal(swap)
    return swap


def steps(swap: Swap) -> Iterator[str]:
    """Do it, one path for each step. Raises `Changed` and `OSError`; then `undo`."""
    # Files go before others come, so that a folder can take the place of a file and the reverse.
    for number, each in sorted(enumerate(swap.exchanges), key=lambda item: item[1].after != ABSENT):
        _put(swap, each.path, each.before, _wanted(swap.folder, number), each.after)
        yield each.path


def finish(swap: Swap) -> None:
    """Make the swap final and forget it. Raises `OSError`."""
    (swap.folder / JOURNAL).unlink()
    sync(swap.folder)
    shutil.rmtree(swap.folder, ignore_errors=True)


def undo(swap: Swap) -> tuple[str, ...]:
    """Bring back what was there, then forget the swap; gives the paths that somebody else changed.

    Those keep what they have now. Raises `OSError`; then it can be tried again.
    """
    kept: list[str] = []
    for spare in swap.folder.glob("after-*"):
        # The fingerprints are enough, and a full disk has room again.
        spare.unlink()
    for number, each in sorted(enumerate(swap.exchanges), key=lambda item: item[1].before != ABSENT):
        at_hand = reachable(swap.root, each.path)
        if at_hand:
            _beside(swap, each.path).unlink(missing_ok=True)
        if _equal(each.before, fingerprint(swap.root / each.path) if at_hand else ABSENT):
            continue
        try:
            _put(swap, each.path, each.after, swap.folder / "before" / str(number), each.before)
        except Changed:
            kept.append(each.path)
    finish(swap)
    return tuple(kept)


def unfinished(parent: Path) -> list[Swap]:
    """The swaps below `parent` that a crash cut short; what never began is removed.

    Raises `OSError`, and `ValueError` for a journal that is damaged.
    """
    found: list[Swap] = []
    for folder in sorted(parent.glob("*/")):
        try:
            stored = json.loads((folder / JOURNAL).read_bytes())
        except FileNotFoundError:
            shutil.rmtree(folder, ignore_errors=True)
            continue
        exchanges = tuple(Exchange(**each) for each in stored["exchanges"])
        found.append(Swap(folder, Path(stored["root"]), exchanges))
    return found


def fingerprint(path: Path) -> str:
    """What stands at a path: two with the same fingerprint are the same. Raises `OSError`."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT
    if stat.S_ISLNK(status.st_mode):
        return f"link {hashlib.sha256(os.fsencode(path.readlink())).hexdigest()}"
    if not stat.S_ISREG(status.st_mode):
        return FOLDER if stat.S_ISDIR(status.st_mode) else OTHER
    kind = "program" if status.st_mode & stat.S_IXUSR else "file"
    with path.open("rb") as file:
        return f"{kind} {hashlib.file_digest(file, 'sha256').hexdigest()}"


def reachable(root: Path, path: str) -> bool:
    """Whether no link, and no file, stands where the path has folders. Raises `OSError`."""
    for parent in [root / parent for parent in Path(path).parents]:
        with suppress(FileNotFoundError, NotADirectoryError):
            if not stat.S_ISDIR(parent.lstat().st_mode):
                return False
    return True


# --- one file ------------------------------------------------------------------------------------


def _put(swap: Swap, path: str, expected: str, source: Path, wanted: str) -> None:
    target = swap.root / path
    if not reachable(swap.root, path) or fingerprint(target) != expected:
        raise Changed(path)
    if wanted == ABSENT:
        target.unlink()
        _prune(swap.root, target.parent)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = _beside(swap, path)
    _keep(source, draft, durable=True)
    if expected == ABSENT:
        _appear(draft, target, path)
    else:
        if fingerprint(target) != expected:
            draft.unlink()
            raise Changed(path)
        draft.replace(target)
    sync(target.parent)


def _appear(draft: Path, target: Path, path: str) -> None:
    """Give the draft its name where no other file has it."""
    try:
        os.link(draft, target, follow_symlinks=False)
    except FileExistsError as error:
        draft.unlink()
        raise Changed(path) from error
    except OSError:
        # A file system without hard links.
        draft.replace(target)
    else:
        draft.unlink()


def _keep(source: Path, copy: Path, *, durable: bool) -> None:
    """Copy a file or a link as it is; nothing for what is neither."""
    try:
        status = source.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISLNK(status.st_mode):
        copy.symlink_to(source.readlink())
    elif stat.S_ISREG(status.st_mode):
        clone(source, copy, stat.S_IMODE(status.st_mode))
        if durable:
            sync(copy)


def _equal(known: str, now: str) -> bool:
    """Whether a place is as known: where no file was, an (empty) folder is no difference yet."""
    return known == now or (known == ABSENT and now == FOLDER)


def _adopt_mode(before: Path, after: Path) -> None:
    """Give a new version the permissions of the old one, but for the right to be run."""
    with suppress(FileNotFoundError):
        old, new = before.lstat().st_mode, after.lstat().st_mode
        if stat.S_ISREG(old) and stat.S_ISREG(new):
            mode = stat.S_IMODE(old)
            run = (mode & 0o444) >> 2
            after.chmod(mode | run if new & stat.S_IXUSR else mode & ~0o111)


def _prune(root: Path, folder: Path) -> None:
    """Remove folders that are empty now, as git does, which knows none."""
    with suppress(OSError):
        while folder != root:
            folder.rmdir()
            folder = folder.parent


def _beside(swap: Swap, path: str) -> Path:
    return (swap.root / path).with_name(f".{swap.folder.name}.tmp")


def _wanted(folder: Path, number: int) -> Path:
    return folder / f"after-{number}"


def _write_journal(swap: Swap) -> None:
    exchanges: Sequence[dict[str, str]] = [asdict(each) for each in swap.exchanges]
    draft = swap.folder / "draft"
    draft.write_text(json.dumps({"root": str(swap.root), "exchanges": exchanges}), "ascii")
    sync(draft)
    sync(swap.folder / "before")
    place(draft, swap.folder / JOURNAL)
