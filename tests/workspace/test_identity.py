"""Who a place is: through moves, clones, copies, worktrees, and where nothing can be written."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import time
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from hermes_acp.workspace import identity, marks
from hermes_acp.workspace.identity import Identified, IdentityError
from hermes_acp.workspace.project import Project, find_project
from hermes_acp.workspace.registry import Record, Registry

AUTHOR = ("-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "protocol.file.allow=always")
REMOTE = "https://forge.example/team/shop.git"
IS_ROOT = os.geteuid() == 0


@dataclass(frozen=True)
class World:
    """A user with a home, a data folder, and repositories."""

    path: Path

    @property
    def env(self) -> dict[str, str]:
        return {"PATH": os.defpath, "HOME": str(self.path / "home"), "GIT_CONFIG_NOSYSTEM": "1"}

    @property
    def registry(self) -> Registry:
        return Registry(self.path / "data" / "projects")

    def git(self, folder: Path, *words: str) -> str:
        command = ["git", "-C", str(folder), *AUTHOR, *words]
        return subprocess.run(
            command, check=True, capture_output=True, text=True, env=self.env
        ).stdout.strip()

    def repository(self, name: str, remote: str = REMOTE) -> Path:
        folder = self.path / name
        folder.mkdir(parents=True)
        self.git(folder, "init", "-q", "-b", "main")
        (folder / "file").write_text(name)
        self.git(folder, "add", ".")
        self.git(folder, "commit", "-q", "-m", f"Begin {name}")
        if remote:
            self.git(folder, "remote", "add", "origin", remote)
        return folder

    def clone(self, source: Path, name: str, *words: str, remote: str = REMOTE) -> Path:
        self.git(self.path, "clone", "-q", *words, source.as_uri(), name)
        if remote:
            self.git(self.path / name, "remote", "set-url", "origin", remote)
        return self.path / name

    def bare(self, source: Path, name: str) -> Path:
        self.git(self.path, "clone", "-q", "--bare", str(source), name)
        return self.path / name

    async def identify(self, folder: Path) -> Identified:
        return await identity.identify(await find_project(str(folder)), self.registry, self.env)

    async def id(self, folder: Path) -> str:
        return (await self.identify(folder)).record.id

    async def records(self) -> list[Record]:
        return await asyncio.to_thread(self.registry.all)

    async def join(self, project_id: str, folder: Path) -> Record:
        return await identity.join(project_id, await find_project(str(folder)), self.registry, self.env)

    async def move(self, project_id: str, folder: Path) -> Record:
        return await identity.move(project_id, await find_project(str(folder)), self.registry, self.env)


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "home").mkdir()
    return World(tmp_path)


def mark(world: World, repo: Path) -> str:
    """What git says the id is."""
    return world.git(repo, "config", "--local", "hermes-editor.project")


# --- the id --------------------------------------------------------------------------------------


async def test_the_id_is_written_at_the_first_use_and_found_from_then_on(world: World) -> None:
    repo = world.repository("shop")
    place = await find_project(str(repo))
    assert place == Project("", str(repo), str(repo / ".git"), "shop")
    found = await world.identify(repo)
    (commit,) = world.git(repo, "rev-list", "HEAD").split()
    assert found.project == replace(place, id=found.record.id) == await find_project(str(repo))
    assert str(uuid.UUID(found.record.id)) == found.record.id == mark(world, repo)
    assert found == replace(
        found,
        proposals=(),
        record=replace(
            found.record,
            name="shop",
            keys=(str(repo / ".git"),),
            former=(),
            paths=(str(repo),),
            lineage=identity.Lineage("forge.example/team/shop", (commit,)),
            parent="",
        ),
    )
    assert await world.identify(repo) == found
    assert await world.records() == [found.record]


async def test_identity_changes_nothing_else_in_the_repository(world: World) -> None:
    repo = world.repository("shop")
    config = repo / ".git" / "config"
    config.chmod(0o640)
    config.write_text(config.read_text() + "# mine\n[alias]\n\tst = status ; short\n")
    before = config.read_text()
    own = await world.id(repo)
    assert config.read_text() == f"{before}[hermes-editor]\n\tproject = {own}\n"
    assert config.stat().st_mode & 0o777 == 0o640
    await identity.forget(own, world.registry, world.env)
    assert config.read_text() == before
    assert world.git(repo, "status", "--porcelain") == ""


async def test_all_worktrees_share_the_id_and_are_remembered(world: World) -> None:
    repo = world.repository("shop")
    world.git(repo, "worktree", "add", "-q", "../feature")
    world.git(repo, "worktree", "add", "-q", ".trees/inner")
    own = await world.id(world.path / "feature")
    assert await world.id(repo) == await world.id(repo / ".trees" / "inner") == own
    (record,) = await world.records()
    assert record.paths == (str(repo / ".trees" / "inner"), str(repo), str(world.path / "feature"))
    assert (record.name, record.parent) == ("shop", "")


async def test_worktrees_of_ours_are_not_listed_as_places_of_the_user(world: World) -> None:
    repo = world.repository("shop")
    own = await world.id(repo)
    tree = world.registry.folder_of(own) / "worktrees" / "task"
    world.git(repo, "worktree", "add", "-q", str(tree))
    assert (await world.identify(tree)).record.paths == (str(repo),)


async def test_a_move_keeps_the_id(world: World) -> None:
    old = await world.identify(world.repository("shop"))
    new = world.path / "deep" / "store"
    new.parent.mkdir()
    (world.path / "shop").rename(new)
    moved = await world.identify(new)
    assert moved.proposals == ()
    assert moved.record == replace(
        old.record,
        name="store",
        keys=(str(new / ".git"),),
        former=old.record.keys,
        paths=(str(new),),
    )
    assert await world.records() == [moved.record]


async def test_a_folder_without_git_is_marked_and_moves_too(world: World) -> None:
    folder = world.path / "notes"
    folder.mkdir()
    own = await world.id(folder)
    assert (folder / ".hermes" / "project").read_text() == f"{own}\n"
    folder.rename(world.path / "papers")
    found = await world.identify(world.path / "papers")
    assert (found.record.id, found.record.name, found.proposals) == (own, "papers", ())


async def test_a_folder_that_becomes_a_repository_stays_the_same_project(world: World) -> None:
    folder = world.path / "notes"
    folder.mkdir()
    own = await world.id(folder)
    world.git(folder, "init", "-q")
    world.git(folder, "remote", "add", "origin", REMOTE)
    found = await world.identify(folder)
    assert (found.record.id, mark(world, folder)) == (own, own)
    assert found.record.keys == (str(folder), str(folder / ".git"))


async def test_home_and_root_get_no_file(world: World) -> None:
    home = world.path / "home"
    own = await world.id(home)
    assert (await world.id(home), list(home.iterdir())) == (own, [])
    assert not await asyncio.to_thread(marks.can_hold, "/", "")


async def test_an_unborn_repository_keeps_its_id_when_history_begins(world: World) -> None:
    repo = world.path / "new"
    world.git(world.path, "init", "-q", "new")
    own = await world.identify(repo)
    assert own.record.lineage == identity.Lineage()
    world.git(repo, "commit", "-q", "--allow-empty", "-m", "First")
    later = await world.identify(repo)
    assert (later.record.id, len(later.record.lineage.roots)) == (own.record.id, 1)


async def test_a_submodule_is_a_project_with_a_parent(world: World) -> None:
    lib, shop = world.repository("lib", ""), world.repository("shop")
    world.git(shop, "submodule", "add", "-q", str(lib), "vendor/lib")
    found = await world.identify(shop / "vendor" / "lib")
    outer = await find_project(str(shop))
    assert found.project.parent == outer
    assert found.record.parent == outer.id == mark(world, shop) != found.record.id
    assert (await world.identify(shop)).record.parent == ""


async def test_a_bare_repository_and_its_worktrees_are_one_project(world: World) -> None:
    bare = world.bare(world.repository("source"), "shop.git")
    world.git(bare, "worktree", "add", "-q", "../task")
    first = await world.identify(world.path / "task")
    second = await world.identify(bare / "refs")
    assert second.project == Project(first.record.id, str(bare), str(bare), "shop")
    assert first.project == replace(second.project, root=str(world.path / "task"))


async def test_sha256_repositories_have_ids_and_roots_as_well(world: World) -> None:
    repo = world.path / "long"
    world.git(world.path, "init", "-q", "--object-format=sha256", "long")
    world.git(repo, "commit", "-q", "--allow-empty", "-m", "First")
    (root,) = (await world.identify(repo)).record.lineage.roots
    assert (len(root), mark(world, repo)) == (64, await world.id(repo))


async def test_a_file_called_config_in_a_plain_folder_is_not_taken_for_gits(world: World) -> None:
    folder = world.path / "notes"
    folder.mkdir()
    (folder / "config").write_text(f'[remote "origin"]\n\turl = {REMOTE}\n')
    (folder / "HEAD").write_text("Heading\n")
    found = await world.identify(folder)
    assert (found.record.lineage, (folder / "config").read_text().count("\n")) == (identity.Lineage(), 2)


# --- clones and copies ---------------------------------------------------------------------------


async def test_a_clone_is_a_project_of_its_own_until_somebody_says_so(world: World) -> None:
    original = await world.identify(world.repository("shop"))
    clone = world.clone(world.path / "shop", "again", remote="git@forge.example:Team/shop")
    found = await world.identify(clone)
    assert (found.proposals, found.record.name) == ((original.record,), "again")
    assert found.record.id != original.record.id
    assert (await world.identify(clone)).proposals == ()

    joined = await world.join(original.record.id, clone)
    assert joined == replace(
        original.record,
        keys=(*original.record.keys, str(clone / ".git")),
        paths=(str(clone), str(world.path / "shop")),
        last_used=joined.last_used,
    )
    assert await world.records() == [joined], "a project for which nothing was kept is no more"
    assert await world.id(clone) == await world.id(world.path / "shop") == mark(world, clone)


async def test_a_clone_of_a_repository_on_this_machine_is_recognised(world: World) -> None:
    original = await world.identify(world.repository("shop", ""))
    found = await world.identify(world.clone(world.path / "shop", "again", remote=""))
    assert found.proposals == (original.record,)


@pytest.mark.parametrize("remote", ["https://forge.example/other/shop", ""])
async def test_the_same_history_from_elsewhere_is_not_proposed(world: World, remote: str) -> None:
    await world.identify(world.repository("shop"))
    world.bare(world.path / "shop", "elsewhere.git")
    clone = world.clone(world.path / "elsewhere.git", "fork", remote=remote)
    assert (await world.identify(clone)).proposals == ()


async def test_another_history_from_the_same_address_is_not_proposed(world: World) -> None:
    await world.identify(world.repository("shop"))
    assert (await world.identify(world.repository("impostor"))).proposals == ()


async def test_a_shallow_clone_is_not_matched_until_it_is_whole(world: World) -> None:
    repo = world.repository("shop")
    world.git(repo, "commit", "-q", "--allow-empty", "-m", "Second")
    await world.identify(repo)
    clone = world.clone(repo, "thin", "--depth=1")
    found = await world.identify(clone)
    assert (found.proposals, found.record.lineage.roots) == ((), ())
    world.git(clone, "fetch", "-q", "--unshallow", repo.as_uri())
    assert len((await world.identify(clone)).record.lineage.roots) == 1


async def test_a_copy_of_a_folder_becomes_a_project_of_its_own_and_may_join(world: World) -> None:
    original = await world.identify(world.repository("shop"))
    copy = world.path / "copy"
    shutil.copytree(world.path / "shop", copy)
    assert mark(world, copy) == original.record.id
    found = await world.identify(copy)
    assert (found.proposals, found.record.keys) == ((original.record,), (str(copy / ".git"),))
    assert mark(world, copy) == found.record.id != original.record.id
    assert await world.identify(world.path / "shop") == original
    await world.join(original.record.id, copy)
    assert await world.id(copy) == original.record.id


async def test_a_copy_whose_mark_cannot_be_changed_keeps_its_own_id(world: World) -> None:
    original = await world.id(world.repository("shop"))
    copy = world.path / "copy"
    shutil.copytree(world.path / "shop", copy)
    (copy / ".git" / "config.lock").touch()
    own = await world.id(copy)
    assert (await world.id(copy), own == original) == (own, False)
    (copy / ".git" / "config.lock").unlink()
    assert (await world.id(copy), mark(world, copy)) == (own, own)


async def test_the_same_place_under_another_name_is_no_copy(world: World) -> None:
    repo = world.repository("shop")
    own = await world.identify(repo)
    # A record from when the folder above had another real path, as after a mount.
    (world.path / "old").symlink_to(world.path)
    record = replace(own.record, keys=(str(world.path / "old" / "shop" / ".git"),))
    await asyncio.to_thread(world.registry.keep, record)
    assert (await world.identify(repo)).record.keys == own.record.keys


async def test_a_new_clone_in_the_old_place_goes_on(world: World) -> None:
    repo = world.repository("shop")
    world.bare(repo, "hub.git")
    own = await world.id(repo)
    shutil.rmtree(repo)
    world.clone(world.path / "hub.git", "shop")
    assert await world.id(repo) == own


async def test_another_repository_in_the_old_place_is_another_project(world: World) -> None:
    repo = world.repository("shop")
    own = await world.id(repo)
    (world.registry.folder_of(own) / "memory").mkdir()
    shutil.rmtree(repo)
    world.repository("shop/../other")
    (world.path / "other").rename(repo)
    other = await world.identify(repo)
    assert (other.record.id == own, other.proposals) == (False, ())
    (left,) = [record for record in await world.records() if record.id == own]
    assert (left.keys, left.former) == ((), (str(repo / ".git"),))


# --- telling it a place --------------------------------------------------------------------------


async def test_a_project_whose_mark_was_lost_in_the_move_is_told_its_place(world: World) -> None:
    repo = world.repository("shop")
    own = await world.id(repo)
    repo.rename(world.path / "moved")
    world.git(world.path / "moved", "config", "--unset", "hermes-editor.project")
    await world.identify(world.path / "moved")
    record = await world.move(own, world.path / "moved")
    assert (record.keys, record.former) == ((str(world.path / "moved" / ".git"),), (str(repo / ".git"),))
    assert mark(world, world.path / "moved") == own
    assert await world.records() == [record]


async def test_a_project_that_did_not_move_is_not_told_so(world: World) -> None:
    own = await world.id(world.repository("shop"))
    before = await world.records()
    with pytest.raises(IdentityError, match=f"shop is still in .* `hermes-editor project join {own}`"):
        await world.move(own, world.repository("other"))
    assert await world.records() == before


@pytest.mark.parametrize("stranger", [str(uuid.UUID(int=7))])
async def test_a_project_that_is_not_known_cannot_be_joined(world: World, stranger: str) -> None:
    repo = world.repository("shop")
    for tell in (world.join, world.move):
        with pytest.raises(IdentityError, match="There is no project"):
            await tell(stranger, repo)
    assert await world.records() == []


async def test_a_joined_clone_that_is_deleted_leaves_the_other_place(world: World) -> None:
    own = await world.id(world.repository("shop"))
    clone = world.clone(world.path / "shop", "again")
    await world.join(own, clone)
    shutil.rmtree(world.path / "shop")
    assert await world.id(clone) == own
    clone.rename(world.path / "third")
    record = (await world.identify(world.path / "third")).record
    assert (record.id, record.keys) == (own, (str(world.path / "third" / ".git"),))


async def test_a_forgotten_project_begins_anew(world: World) -> None:
    repo = world.repository("shop")
    own = await world.id(repo)
    (world.registry.folder_of(own) / "memory").mkdir()
    assert await identity.forget(own, world.registry, world.env) == ()
    assert [path.name for path in world.registry.folder.iterdir()] == ["registry.lock"]
    assert (await find_project(str(repo))).id == ""
    assert await world.id(repo) != own


# --- places that cannot be written ---------------------------------------------------------------


async def test_a_locked_configuration_is_left_alone_and_the_registry_remembers(world: World) -> None:
    repo = world.repository("shop")
    config = repo / ".git" / "config"
    config.with_name("config.lock").touch()
    before = config.read_bytes()
    found = await world.identify(repo)
    assert await world.identify(repo) == found
    assert ((await find_project(str(repo))).id, config.read_bytes()) == ("", before)
    config.with_name("config.lock").unlink()
    assert await world.identify(repo) == found
    assert mark(world, repo) == found.record.id


@pytest.mark.skipif(IS_ROOT, reason="permissions do not bind root")
async def test_a_read_only_repository_is_remembered_by_its_path(world: World) -> None:
    repo = world.repository("shop")
    (repo / ".git").chmod(0o555)
    own = await world.identify(repo)
    assert await world.identify(repo) == own
    assert (await find_project(str(repo))).id == ""
    (repo / ".git").chmod(0o755)


@pytest.mark.skipif(not IS_ROOT, reason="only root can give files away")
async def test_what_belongs_to_somebody_else_is_neither_believed_nor_written(world: World) -> None:
    mine = await world.id(world.repository("shop"))
    theirs = world.repository("theirs")
    world.git(theirs, "config", "hermes-editor.project", mine)
    shutil.rmtree(world.path / "shop")
    for path in (theirs, *theirs.rglob("*")):
        os.chown(path, 12345, 12345)
    before = (theirs / ".git" / "config").read_bytes()
    found = await world.identify(theirs)
    assert found.record.id != mine
    assert await world.identify(theirs) == found
    assert (theirs / ".git" / "config").read_bytes() == before
    assert found.record.lineage.roots == ()


async def test_links_are_not_written_through(world: World) -> None:
    repo, folder = world.repository("shop"), world.path / "notes"
    victim, elsewhere = world.path / "victim", world.path / "elsewhere"
    config = repo / ".git" / "config"
    config.rename(victim)
    config.symlink_to(victim)
    before = victim.read_bytes()
    elsewhere.mkdir()
    folder.mkdir()
    (folder / ".hermes").symlink_to(elsewhere)
    assert await world.id(repo) == await world.id(repo)
    assert await world.id(folder) == await world.id(folder)
    assert (victim.read_bytes(), list(elsewhere.iterdir())) == (before, [])


async def test_git_is_not_needed(world: World) -> None:
    repo = world.repository("shop")
    place, env = await find_project(str(repo)), world.env | {"PATH": "/nonexistent"}
    found = await identity.identify(place, world.registry, env)
    assert await identity.identify(place, world.registry, env) == found
    assert (found.record.lineage.roots, found.record.lineage.remote) == ((), "forge.example/team/shop")
    assert await world.id(repo) == found.record.id == mark(world, repo)


# --- hostile marks -------------------------------------------------------------------------------

HOSTILE = [
    "../../../../etc",
    "/etc/passwd",
    "",
    "x" * 100_000,
    "00000000-0000-0000-0000-00000000000g",
    "{00000000-0000-0000-0000-000000000001}",
    "00000000000000000000000000000001",
    "00000000-0000-0000-0000-000000000001/..",
    '"00000000-0000-0000-0000-000000000001\\n"',
    "00000000-0000-0000-0000-000000000001 \\\n x",
    "\u0661" * 8 + "-0000-0000-0000-000000000001",
]


@pytest.mark.parametrize("value", HOSTILE)
async def test_only_a_well_formed_id_counts(world: World, value: str) -> None:
    repo, folder = world.repository("shop"), world.path / "notes"
    with (repo / ".git" / "config").open("a") as config:
        config.write(f"[hermes-editor]\n\tproject = {value}\n")
    (folder / ".hermes").mkdir(parents=True)
    (folder / ".hermes" / "project").write_text(value)
    for place in (repo, folder):
        assert (await find_project(str(place))).id == ""
        own = await world.id(place)
        assert (await find_project(str(place))).id == own
    assert {path.name for path in world.registry.folder.iterdir()} == {
        "registry.lock",
        *(record.id for record in await world.records()),
    }


async def test_several_values_are_one_afterwards(world: World) -> None:
    repo = world.repository("shop")
    for value in ("a", "b", "../c"):
        world.git(repo, "config", "--add", "hermes-editor.project", value)
    own = await world.id(repo)
    assert world.git(repo, "config", "--get-all", "hermes-editor.project") == own


@pytest.mark.parametrize("kind", ["pipe", "folder", "large", "binary", "missing"])
async def test_an_odd_configuration_is_survived(world: World, kind: str) -> None:
    repo = world.repository("shop")
    config = repo / ".git" / "config"
    config.unlink()
    match kind:
        case "pipe":
            os.mkfifo(config)
        case "folder":
            config.mkdir()
        case "large":
            config.write_bytes(b"# " + b"x" * marks.CONFIG_BYTES)
        case "binary":
            config.write_bytes(b"\0\xff[" * 1000)
        case _:
            pass
    async with asyncio.timeout(30):
        assert await world.id(repo) == await world.id(repo)


async def test_a_mark_that_we_do_not_know_is_taken_over(world: World) -> None:
    repo = world.repository("shop")
    foreign = "0A000000-0000-4000-8000-000000000001"
    world.git(repo, "config", "hermes-editor.project", foreign)
    assert await world.id(repo) == foreign.lower()


async def test_a_path_that_is_not_unicode_is_kept(world: World) -> None:
    folder = Path(os.fsdecode(os.fsencode(world.path) + b"/caf\xe9"))
    folder.mkdir()
    found = await world.identify(folder)
    assert await world.identify(folder) == found
    assert found.record.keys == (str(folder),)


# --- together ------------------------------------------------------------------------------------


async def test_many_at_once_agree_on_one_id(world: World) -> None:
    repo = world.repository("shop")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(world.id(repo)) for _ in range(8)]
    ids = {task.result() for task in tasks}
    assert ids == {mark(world, repo)}
    assert [record.id for record in await world.records()] == list(ids)


async def test_a_cancelled_identification_leaves_no_lock_and_is_made_up_for(world: World) -> None:
    repo = world.repository("shop")
    for delay in (0.0, 0.005, 0.01, 0.02, 0.03, 0.05):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await world.identify(repo)
    own = await world.id(repo)
    assert mark(world, repo) == own
    assert not (repo / ".git" / "config.lock").exists()
    assert [record.id for record in await world.records()] == [own]


async def test_using_a_project_again_notes_the_time_now_and_then(world: World) -> None:
    repo = world.repository("shop")
    found = await world.identify(repo)
    file = world.registry.folder_of(found.record.id) / "project.json"
    members = json.loads(file.read_text())
    file.write_text(json.dumps(members | {"last_used": 1.0}))
    again = await world.identify(repo)
    assert time.time() - again.record.last_used < 5
    assert replace(again.record, last_used=found.record.last_used) == found.record
