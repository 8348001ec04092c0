"""Taking checkpoints: what they hold, what they leave out, and that the user's repository is untouched."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from hermes_acp.workspace.checkpoints.records import Checkpoint, CheckpointError, LeftOut, Limits
from tests.workspace.checkpoints.trees import ENV, Session, git, new_repository, repository_bytes

# --- what a checkpoint holds ---------------------------------------------------------------------


async def test_tracked_changed_and_new_files_are_recorded_without_ignored_ones(session: Session) -> None:
    root = session.root
    (root / ".gitignore").write_text("*.log\n")
    (root / ".git" / "info" / "exclude").write_text("mine\n")
    (root.parent / "patterns").write_text("theirs\n")
    git(root, "config", "core.excludesFile", str(root.parent / "patterns"))
    for name in ("new", "a.log", "mine", "theirs"):
        (root / name).write_text(name)
    checkpoint = await session.take("before")
    assert (checkpoint.session, checkpoint.number, checkpoint.label) == ("s1", 1, "before")
    assert checkpoint.root == str(root)
    assert set(await session.holds(checkpoint)) == {".gitignore", "README", "new", "src/main.py"}
    assert checkpoint.left_out == ()


async def test_a_folder_without_git_has_checkpoints_too(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a").write_text("a")
    (tmp_path / "notes" / ".gitignore").write_text("b\n")
    (tmp_path / "notes" / "b").write_text("b")
    session = Session(tmp_path / "notes", tmp_path / "data")
    assert set(await session.holds(await session.take())) == {".gitignore", "a"}


async def test_files_that_are_tracked_though_ignored_are_recorded(session: Session) -> None:
    root = session.root
    (root / ".gitignore").write_text("*.cfg\n")
    (root / "kept.cfg").write_text("kept")
    (root / "other.cfg").write_text("other")
    git(root, "add", "-f", "kept.cfg")
    assert "kept.cfg" in await session.holds(await session.take())
    (root / "kept.cfg").write_text("changed")
    git(root, "add", "-f", "other.cfg")
    held = await session.holds(await session.take())
    assert held["kept.cfg"] == git(root, "hash-object", "kept.cfg").decode().strip()
    assert "other.cfg" in held


async def test_the_bytes_are_stored_as_they_are(session: Session) -> None:
    root = session.root
    contents = {
        "crlf.txt": b"a\r\nb\r\n",
        "mixed.txt": b"a\r\nb\n",
        "bom.txt": b"\xef\xbb\xbfwords\n",
        "id.txt": b"$Id$ $Id: something $\n",
        "utf16.txt": "words\r\n".encode("utf-16"),
        "large.bin": b"\0" * 1000,
    }
    (root / ".gitattributes").write_text(
        "*.txt text eol=lf ident\nutf16.txt working-tree-encoding=UTF-16\n*.bin filter=lfs -text\n"
    )
    git(root, "config", "core.autocrlf", "true")
    git(root, "config", "filter.lfs.clean", "false")
    git(root, "config", "filter.lfs.required", "true")
    for name, data in contents.items():
        (root / name).write_bytes(data)
    held = await session.holds(await session.take())
    for name in contents:
        raw = git(root, "hash-object", "--no-filters", name).decode().strip()
        assert held[name] == raw, name


async def test_nothing_that_global_settings_configure_is_run_or_applied(repo: Path, tmp_path: Path) -> None:
    canary, home = tmp_path / "canary", tmp_path / "home"
    home.mkdir()
    (home / "script").write_text(f"#!/bin/sh\necho \"$0 $@\" >> '{canary}'\ncat\n")
    (home / "script").chmod(0o755)
    (home / "attributes").write_text("* filter=evil text eol=crlf\n")
    hooks = home / "hooks"
    hooks.mkdir()
    for hook in ("post-index-change", "reference-transaction", "post-commit"):
        (hooks / hook).symlink_to(home / "script")
    (home / ".gitconfig").write_text(
        f"[core]\nautocrlf = true\nfsmonitor = {home}/script\nhooksPath = {hooks}\n"
        f"attributesFile = {home}/attributes\n[init]\ntemplateDir = {home}\n"
        f'[filter "evil"]\nclean = {home}/script\nrequired = true\n'
    )
    (repo / "crlf").write_bytes(b"a\r\n")
    session = Session(repo, tmp_path / "data", env=ENV | {"HOME": str(home)})
    held = await session.holds(await session.take())
    assert held["crlf"] == git(repo, "hash-object", "--no-filters", "crlf").decode().strip()
    assert not canary.exists()


async def test_names_of_every_kind_are_recorded(session: Session) -> None:
    names = [
        b"new\nline",
        b"bad\xff\xfe",
        "caf\u00e9".encode(),
        "cafe\u0301".encode(),
        b"Makefile",
        b"makefile",
    ]
    names += [b'quo"te', b"back\\slash", b"-option", b":(glob)*", b" space ", b"git~1", "\u200c.git".encode()]
    for name in names:
        Path(os.fsdecode(os.fsencode(session.root) + b"/" + name)).write_bytes(name)
    held = await session.holds(await session.take())
    assert set(held) == {"README", "src/main.py", *map(os.fsdecode, names)}
    assert (await session.take()).number == 1


async def test_links_are_recorded_and_never_followed(session: Session, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    (session.root / "link").symlink_to("../outside")
    (session.root / "broken").symlink_to("nowhere")
    (session.root / "loop").symlink_to("loop")
    held = await session.holds(await session.take())
    assert set(held) == {"README", "src/main.py", "link", "broken", "loop"}


async def test_sockets_and_pipes_do_not_hold_us_up(session: Session) -> None:
    (session.root / "README").unlink()
    await session.take()
    os.mkfifo(session.root / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(session.root)
        listener.bind("socket")
        os.chdir(here)
    (session.root / "src" / "main.py").unlink()
    os.mkfifo(session.root / "src" / "main.py")
    async with asyncio.timeout(60):
        checkpoint = await session.take()
    # What was a file once keeps its last contents: it is not known to be deleted.
    assert checkpoint.left_out == (LeftOut("src/main.py", "special"),)
    assert set(await session.holds(checkpoint)) == {"src/main.py"}


async def test_repositories_inside_are_left_alone_and_named(session: Session, tmp_path: Path) -> None:
    other = new_repository(tmp_path / "other")
    git(session.root, "submodule", "add", "-q", str(other), "lib")
    git(session.root, "commit", "-q", "-m", "Library")
    git(session.root, "worktree", "add", "-q", "-b", "side", "trees/side")
    checkpoint = await session.take()
    assert checkpoint.left_out == (LeftOut("lib/", "repository"), LeftOut("trees/side/", "repository"))
    assert set(await session.holds(checkpoint)) == {".gitmodules", "README", "src/main.py"}


async def test_large_files_are_left_out_and_named(session: Session) -> None:
    session = Session(session.root, session.checkpoints.folder.parent, Limits(file_bytes=100))
    (session.root / "large").write_bytes(b"x" * 101)
    (session.root / "small").write_bytes(b"x" * 100)
    checkpoint = await session.take()
    assert checkpoint.left_out == (LeftOut("large", "large"),)
    assert "small" in await session.holds(checkpoint)
    assert str(checkpoint.left_out[0]) == "large: too large"


async def test_a_sparse_file_of_two_gigabytes_takes_no_time(session: Session) -> None:
    with (session.root / "disk.img").open("wb") as file:
        file.truncate(2 * 1024**3)
    async with asyncio.timeout(60):
        checkpoint = await session.take()
    assert checkpoint.left_out == (LeftOut("disk.img", "large"),)


async def test_the_folder_that_holds_most_of_too_many_new_files_is_left_out(session: Session) -> None:
    root = session.root
    session = Session(root, session.checkpoints.folder.parent, Limits(new_files=20))
    for folder in ("web/node_modules/a", "web/node_modules/b", "web/src"):
        (root / folder).mkdir(parents=True)
        for number in range(15):
            (root / folder / str(number)).touch()
    checkpoint = await session.take()
    assert checkpoint.left_out == (LeftOut("web/node_modules/", "many"),)
    assert len(await session.holds(checkpoint)) == 2 + 15


async def test_files_that_the_repository_tracks_never_count_as_too_many(repo: Path, tmp_path: Path) -> None:
    for number in range(30):
        (repo / "src" / str(number)).touch()
    git(repo, "add", ".")
    (repo / "new").touch()
    session = Session(repo, tmp_path / "data", Limits(new_files=10))
    checkpoint = await session.take()
    assert checkpoint.left_out == ()
    assert len(await session.holds(checkpoint)) == 33


async def test_too_many_new_files_in_the_root_itself_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "flat" / "sub").mkdir(parents=True)
    for number in range(30):
        (tmp_path / "flat" / str(number)).write_bytes(b"12345")
    (tmp_path / "flat" / "sub" / "kept").touch()
    for limits in (Limits(new_files=10), Limits(new_bytes=100)):
        session = Session(tmp_path / "flat", tmp_path / f"data{limits.new_files}", limits)
        checkpoint = await session.take()
        assert checkpoint.left_out == (LeftOut("./", "many"),)
        assert set(await session.holds(checkpoint)) == {"sub/kept"}


# --- the next one --------------------------------------------------------------------------------


async def test_where_nothing_changed_the_last_checkpoint_is_given_again(session: Session) -> None:
    first = await session.take("one")
    os.utime(session.root / "README", (1, 1))
    assert await session.take("two") == first
    (session.root / "README").write_text("more\n")
    second = await session.take("three")
    assert (second.number, second.label) == (2, "three")
    assert await session.checkpoints.list("s1") == [first, second]


async def test_another_session_gets_a_checkpoint_of_its_own(session: Session) -> None:
    first = await session.take()
    session.name = "s2"
    second = await session.take()
    assert (second.session, second.number, second.tree) == ("s2", 1, first.tree)


async def test_checkpoints_survive_a_restart(session: Session, tmp_path: Path) -> None:
    first = await session.take("caf\u00e9 \udcff\n\0")
    (session.root / os.fsdecode(b"\xff")).mkdir()
    second = await session.take()
    again = Session(session.root, tmp_path / "data")
    found = await again.checkpoints.list("s1")
    assert found == [first, second]
    assert found[0].label == "caf\u00e9 ?\n\0"
    assert found[1].beside.folders == (os.fsdecode(b"\xff"),)
    assert await again.take() == second


async def test_several_sessions_take_checkpoints_of_one_tree_at_once(
    session: Session, tmp_path: Path
) -> None:
    sessions = [Session(session.root, tmp_path / "data", name=f"other{number}") for number in range(4)]
    sessions += [session]
    taken: list[Checkpoint] = []

    async def work(one: Session, number: int) -> None:
        (one.root / f"file{number}").write_text(str(number))
        taken.append(await one.take())

    async with asyncio.TaskGroup() as group:
        for number, one in enumerate(sessions):
            group.create_task(work(one, number))
    last = await session.take()
    assert len(await session.holds(last)) == 2 + len(sessions)
    assert len({(each.session, each.number) for each in taken}) == len(sessions)


async def test_several_trees_of_a_project_share_the_repository(session: Session, tmp_path: Path) -> None:
    git(session.root, "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    side = Session(tmp_path / "side", tmp_path / "data")
    first, second = await session.take(), await side.take()
    assert (first.number, second.number) == (1, 2)
    assert first.tree == second.tree
    (side.root / "only-here").touch()
    assert "only-here" in await side.holds(await side.take())
    assert await session.take() == first


async def test_a_cancel_leaves_nothing_behind_that_matters(session: Session) -> None:
    await session.take()
    (session.root / "new").write_text("new")
    for milliseconds in range(0, 40, 4):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(milliseconds / 1000):
                await session.take()
                await asyncio.Event().wait()
    assert "new" in await session.holds(await session.take())


async def test_locks_that_git_left_when_the_machine_died_stop_nobody(session: Session) -> None:
    await session.take()
    store = session.checkpoints.folder
    (ref,) = (store / "refs/trees").iterdir()
    names = (f"refs/trees/{ref.name}", "packed-refs", "refs/checkpoints/s1/1")
    locks = [store / f"{name}.lock" for name in names]
    for lock in locks:
        lock.touch()
    (session.root / "new").write_text("new")
    assert "new" in await session.holds(await session.take())
    for lock in locks[1:]:
        os.utime(lock, (0, 0))
    await session.checkpoints.forget("s1")
    assert await session.checkpoints.list("s1") == []
    assert not any(lock.exists() for lock in locks)


async def test_a_lock_on_names_that_somebody_may_hold_is_left_alone(session: Session) -> None:
    await session.take()
    lock = session.checkpoints.folder / "packed-refs.lock"
    lock.touch()
    with pytest.raises(CheckpointError, match=r"packed-refs\.lock"):
        await session.checkpoints.forget("s1")
    lock.unlink()
    assert len(await session.checkpoints.list("s1")) == 1


async def test_a_damaged_index_or_state_costs_only_time(session: Session) -> None:
    (session.root / ".gitignore").write_text("later\n")
    first = await session.take()
    (index,) = session.checkpoints.folder.glob("trees/*/index")
    state = index.with_name("state.json")
    for damage in (b"", b"DIRC", index.read_bytes()[:-30]):
        index.write_bytes(damage)
        assert (await session.take()).tree == first.tree
    for damage in (b"", b"{}"):
        state.write_bytes(damage)
        assert (await session.take()).tree == first.tree
    (index.with_name("index.lock")).touch()
    (session.root / "new").touch()
    assert "new" in await session.holds(await session.take())


async def test_what_was_recorded_once_stays_so_when_it_becomes_ignored(session: Session) -> None:
    (session.root / "notes").write_text("notes")
    await session.take()
    (session.root / ".gitignore").write_text("notes\n")
    (session.root / "notes").write_text("more notes")
    for index in session.checkpoints.folder.glob("trees/*/index"):
        index.unlink()
    held = await session.holds(await session.take())
    assert held["notes"] == git(session.root, "hash-object", "notes").decode().strip()


# --- the user's repository -----------------------------------------------------------------------


async def test_not_a_byte_of_the_repository_changes(session: Session) -> None:
    root = session.root
    (root / "README").write_text("stashed\n")
    git(root, "stash")
    (root / "README").write_text("staged\n")
    git(root, "add", "README")
    (root / "README").write_text("changed\n")
    before = repository_bytes(root)
    start = await session.take()
    (root / "new").write_text("new")
    end = await session.take()
    await session.undo(start, end)
    await session.checkpoints.changes(str(root), start, end)
    await session.checkpoints.tidy(0.0)
    assert repository_bytes(root) == before
    git(root, "fsck", "--strict")


async def test_unchanged_files_are_borrowed_from_the_repository(session: Session) -> None:
    data = os.urandom(100_000)
    (session.root / "data").write_bytes(data)
    git(session.root, "add", ".")
    await session.take()
    objects = session.checkpoints.folder / "objects"
    assert sum(file.stat().st_size for file in objects.rglob("*") if file.is_file()) < 10_000


async def test_the_repository_is_readable_by_its_owner_alone(session: Session) -> None:
    await session.take()
    assert session.checkpoints.folder.stat().st_mode & 0o777 == 0o700


async def test_errors_say_what_to_do(session: Session, tmp_path: Path) -> None:
    gone = Session(tmp_path / "gone", tmp_path / "data")
    with pytest.raises(CheckpointError, match=r"^No checkpoint was taken: The folder .*/gone is gone"):
        await gone.take()
    (tmp_path / "blocked" / "checkpoints.git").mkdir(parents=True)
    (tmp_path / "blocked" / "checkpoints.git" / "file").touch()
    with pytest.raises(CheckpointError, match="move it away, and a new one is made"):
        await Session(session.root, tmp_path / "blocked").take()
    without = Session(session.root, tmp_path / "data", env=ENV | {"PATH": "/nonexistent"})
    with pytest.raises(CheckpointError, match="git cannot be started"):
        await without.take()
    with pytest.raises(ValueError, match="no id of a session"):
        await session.checkpoints.take(str(session.root), "../x", "")
    assert await session.checkpoints.list("s9") == []


# --- differences and bounds ----------------------------------------------------------------------


async def test_changes_name_each_file_with_its_kind_and_its_patch(session: Session) -> None:
    root = session.root
    start = await session.take()
    (root / "README").write_text("words\nmore\n")
    (root / "src" / "main.py").unlink()
    (root / "new\nline").write_text("diff --git a b\n")
    (root / "binary").write_bytes(b"\0\1")
    end = await session.take()
    (root / "README").unlink()
    (root / "README").symlink_to("binary")
    (root / "binary").chmod(0o755)
    last = await session.take()
    found = await session.checkpoints.changes(str(root), start, end)
    assert [(each.path, each.kind) for each in found] == [
        ("README", "modified"), ("binary", "added"), ("new\nline", "added"), ("src/main.py", "deleted")
    ]  # fmt: skip
    patches = [each.patch for each in found]
    assert patches[0] and patches[0].endswith("@@ -1 +1,2 @@\n words\n+more\n")
    assert patches[1] is None
    assert patches[2] and patches[2].endswith("@@ -0,0 +1 @@\n+diff --git a b\n")
    again = await session.checkpoints.changes(str(root), end, last)
    assert [(each.path, each.kind) for each in again] == [("README", "retyped"), ("binary", "modified")]
    assert again[0].patch and again[0].patch.count("diff --git") == 2
    assert again[1].patch and "new mode 100755" in again[1].patch
    assert await session.checkpoints.changes(str(root), end, end) == []


async def test_old_checkpoints_go_and_the_others_stay_whole(session: Session, tmp_path: Path) -> None:
    limited = Session(session.root, tmp_path / "data", Limits(count=3))
    taken: list[Checkpoint] = []
    for number in range(6):
        (session.root / "file").write_text(str(number))
        taken.append(await limited.take())
    assert await limited.checkpoints.tidy(taken[-1].at + 10.0) == 3
    assert await limited.checkpoints.list("s1") == taken[3:]
    result = await limited.undo(taken[3], taken[5])
    assert (session.root / "file").read_text() == "3"
    assert result.conflicts == ()
    later = result.after.at + limited.limits.age + 10.0
    assert await limited.checkpoints.tidy(later) == len(await session.checkpoints.list("s1")) + 4
    (session.root / "file").write_text("after")
    assert (await limited.take()).number > taken[-1].number


async def test_the_oldest_quarter_goes_when_the_repository_is_too_large(
    session: Session, tmp_path: Path
) -> None:
    taken: list[Checkpoint] = []
    for _ in range(5):
        (session.root / "file").write_bytes(os.urandom(50_000))
        taken.append(await session.take())
    small = Session(session.root, tmp_path / "data", Limits(store_bytes=200_000))
    # What was written just now cannot be freed, so nothing has to go for it.
    assert await small.checkpoints.tidy(taken[-1].at) == 0
    assert await small.checkpoints.tidy(taken[-1].at + 7200.0) == 2
    assert await small.checkpoints.list("s1") == taken[2:]


async def test_our_own_folders_are_never_recorded(tmp_path: Path) -> None:
    data = tmp_path / "home" / "my [data]*"
    (data / "conversations").mkdir(parents=True)
    (data / "conversations" / "sessions.db").touch()
    (tmp_path / "home" / "notes").touch()
    session = Session(tmp_path / "home", data)
    held = await session.holds(await session.take())
    assert set(held) == {"my [data]*/conversations/sessions.db", "notes"}
    session = Session(tmp_path / "home", tmp_path / "other", private=(data,))
    assert set(await session.holds(await session.take())) == {"notes"}


async def test_our_own_folders_are_not_recorded_although_the_user_tracks_them(tmp_path: Path) -> None:
    home = new_repository(tmp_path / "home")
    for folder in ("data", "data-of-others"):
        (home / folder).mkdir()
        (home / folder / "keys").write_text("secret\n")
    (home / ".gitignore").write_text("*\n")
    git(home, "add", "--force", ".")
    session = Session(home, tmp_path / "other", private=(home / "data",))
    held = await session.holds(await session.take())
    assert set(held) == {".gitignore", "README", "data-of-others/keys", "src/main.py"}
    assert set(await session.holds(await session.take())) == set(held)


async def test_a_tree_that_is_our_own_folder_has_nothing_to_record(session: Session, tmp_path: Path) -> None:
    own = Session(session.root, tmp_path / "other", private=(session.root,))
    assert await own.holds(await own.take()) == {}


async def test_a_forgotten_session_has_no_checkpoints(session: Session) -> None:
    await session.take()
    await session.checkpoints.forget("s1")
    assert await session.checkpoints.list("s1") == []
    await session.checkpoints.forget("s1")


async def test_a_tree_whose_folder_is_gone_is_forgotten(session: Session, tmp_path: Path) -> None:
    checkpoint = await session.take()
    session.root.rename(tmp_path / "moved")
    await session.checkpoints.tidy(0.0)
    assert list(session.checkpoints.folder.glob("trees/*")) == []
    assert await session.checkpoints.list("s1") == [checkpoint]
