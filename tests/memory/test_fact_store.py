"""Facts on a real disk: SQLite first, git behind it, and nothing is lost between them."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hermes_acp.events import Envelope, MessageCompleted
from hermes_acp.memory import views
from hermes_acp.memory.facts.changes import Amend, Confirm, Remember, Retract
from hermes_acp.memory.facts.evidence import stale
from hermes_acp.memory.facts.fact import BadFact, Evidence, decode, format_file, name_of
from hermes_acp.memory.facts.store import Facts
from hermes_acp.memory.facts.writing import queued_whole
from hermes_acp.memory.scopes import USER, Place
from hermes_acp.storage.fact_commits import RepositoryError
from hermes_acp.storage.facts import FactTables
from hermes_acp.storage.journal import Journal
from hermes_acp.storage.sessions import SessionTable
from hermes_acp.workspace.branch_state import BranchState
from hermes_acp.workspace.memory_repository.repository import MemoryRepository
from tests.cli.sessions_home import row
from tests.memory.memories import FEATURE, MAIN, PROOF, SAID, TOPIC, Memory, example, fact, said
from tests.mounts import fill, mounted
from tests.workspace.repos import ENV, git

pytestmark = pytest.mark.slow


@pytest.fixture
async def memory(tmp_path: Path) -> AsyncIterator[Memory]:
    memory = await Memory.open(tmp_path)
    yield memory
    await memory.close()


async def test_what_was_acknowledged_is_known_at_once_and_in_git_when_it_is_drained(memory: Memory) -> None:
    learned = await memory.learn(MAIN, fact("SQLite", "database"))
    assert await memory.texts(MAIN) == ["SQLite"]
    assert not await asyncio.to_thread((memory.folder / "p").exists)
    await memory.facts.drain()
    [known] = (await memory.facts.all("p")).values()
    assert memory.git("show", f"project:{name_of(learned.ids[0])}") == format_file(known)
    assert (memory.folder / "p/memory/project" / name_of(known.id)).read_text() == format_file(known)
    assert memory.git("log", "-1", "--format=%B", "project").splitlines() == [
        "Change 1 fact", "", f"{known.id} decision active", "",
        f"Hermes-Change: {learned.change_id}", "Hermes-Session: s1", "Hermes-Evidence: s1:3", "",
    ]  # fmt: skip
    await memory.whole()


async def test_each_scope_is_a_branch_and_each_branch_a_worktree(memory: Memory) -> None:
    await memory.learn(MAIN, fact("on main"), Remember("preference", "short", author="user", reach="user"))
    await memory.learn(FEATURE, fact("on feature"), fact("everywhere", kind="environment"))
    await memory.learn(TOPIC, fact("on topic/a"))
    await memory.facts.drain()
    branches = memory.git("for-each-ref", "--format=%(refname:short)").split()
    assert branches == ["overlay/feature", "overlay/topic%2Fa", "project"]
    assert git(memory.folder / "p/memory/overlay/topic%2Fa", "status", "--short", "--branch") == (
        "## overlay/topic%2Fa"
    )
    assert memory.git("for-each-ref", "--format=%(refname:short)", store=USER).split() == ["user"]
    assert await memory.texts(FEATURE) == ["everywhere", "on feature", "on main", "short"]
    await memory.whole()


async def test_a_batch_takes_few_processes_and_each_change_is_a_commit_of_its_own(
    memory: Memory, tmp_path: Path
) -> None:
    log = tmp_path / "calls"
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$$" >> {log}\nexec {shutil.which("git")} "$@"\n')
    program.chmod(0o755)
    env = {**ENV, "PATH": f"{program.parent}:{os.defpath}"}
    repository = MemoryRepository(tmp_path / "p", env)
    facts = Facts(FactTables(memory.database), lambda _: repository, said)
    await facts.apply(MAIN, [fact("first")])
    await facts.apply(FEATURE, [fact("second")])
    await facts.drain()
    log.write_text("")
    for number in range(20):
        await facts.apply((MAIN, FEATURE)[number % 2], [fact(f"fact {number}")])
    await facts.drain()
    assert len(log.read_text().splitlines()) <= 3
    assert git(tmp_path / "p/memory.git", "rev-list", "--count", "--branches") == "22"
    repository.close()


async def test_many_batches_become_one_pack(memory: Memory) -> None:
    for number in range(55):
        await memory.learn(MAIN, fact(f"number {number}"))
        await memory.facts.drain()
    packs = [*(memory.folder / "p/memory.git/objects/pack").glob("*.pack")]
    assert len(packs) < 50
    await memory.whole()


async def test_quotes_are_looked_up_and_what_nobody_said_is_a_proposal(memory: Memory) -> None:
    good = Remember("decision", "SQLite", evidence=(Evidence("s1", 3, SAID.upper().replace(" ", "\n")),))
    bad = Remember("decision", "Redis", evidence=(Evidence("s1", 3, "let us take Redis"),))
    learned = await memory.learn(MAIN, good, bad, Remember("decision", "Kafka"))
    assert await memory.states() == {
        "SQLite": ("active", "project"),
        "Redis": ("proposed", "project"),
        "Kafka": ("proposed", "project"),
    }
    assert [learned.ids[number + 1] in note for number, note in enumerate(learned.notes)] == [True, True]
    assert [item.proposal.text for item in await memory.facts.review(MAIN)] == ["Redis", "Kafka"]
    known = await memory.facts.all("p")
    assert [known[name].evidence[0].found for name in learned.ids[:2]] == [True, False]
    await memory.learn(MAIN, Confirm(learned.ids[1]), Retract(learned.ids[2]))
    assert (await memory.texts(MAIN), await memory.facts.review(MAIN)) == (["Redis", "SQLite"], [])


async def test_the_text_of_events_is_the_evidence_where_nobody_gives_another(memory: Memory) -> None:
    await SessionTable(memory.database).create(row(1))
    answer = MessageCompleted("m", "x" * 3_000 + " take SQLite")
    await Journal(memory.database).append([Envelope("s1", 4, "t", 0.0, answer)])
    tables = FactTables(memory.database)
    assert (await tables.message("s1", 4)).endswith("take SQLite")
    assert await tables.message("s1", 5) == await tables.message("s2", 4) == ""


async def test_a_fact_is_stale_when_the_code_it_names_has_changed() -> None:
    anchored = example(evidence=(Evidence("s", 1, anchor="a@b.py@1234"), Evidence("s", 2)))
    assert not stale(anchored, {"a@b.py": "1234"}.get)
    assert stale(anchored, {"a@b.py": "5678"}.get)
    assert stale(anchored, dict[str, str]().get)
    assert not stale(example(), dict[str, str]().get)


async def test_no_project_sees_the_facts_of_another_one_and_submodules_those_of_their_parent(
    memory: Memory,
) -> None:
    places = [Place(f"project-{number}") for number in range(100)]
    for place in places:
        await memory.learn(place, fact(f"of {place.project}", "same key"))
    await memory.learn(places[0], Remember("preference", "of the user", author="user", reach="user"))
    for place in places:
        assert await memory.texts(place) == [f"of {place.project}", "of the user"]
    inner = Place("inner", parents=("project-1",))
    assert await memory.texts(inner) == ["of project-1", "of the user"]
    [outer] = await memory.facts.all("project-1")
    with pytest.raises(BadFact):
        await memory.learn(inner, Retract(outer))
    assert await memory.texts(Place("")) == ["of the user"]
    with pytest.raises(BadFact, match="no project"):
        await memory.learn(Place(""), fact("nowhere"))


async def test_a_change_is_taken_back_with_all_that_rests_on_it(memory: Memory) -> None:
    await memory.learn(MAIN, fact("SQLite", "database"), fact("tabs"))
    before = views.render("project", await memory.facts.visible(MAIN), 2_000)
    wrong = await memory.learn(
        MAIN,
        fact("Postgres", "database"),
        Remember("preference", "verbose", author="user", reach="user"),
    )
    later = await memory.learn(
        MAIN, Remember("procedure", "start Postgres first", author="user", derived_from=wrong.ids)
    )
    undone = await memory.facts.revert(MAIN, wrong.change_id)
    assert set(later.ids) <= set(undone.ids)
    assert views.render("project", await memory.facts.visible(MAIN), 2_000) == before
    await memory.facts.revert(MAIN, undone.change_id)
    assert await memory.texts(MAIN) == ["Postgres", "start Postgres first", "tabs", "verbose"]
    with pytest.raises(BadFact, match="no change"):
        await memory.facts.revert(MAIN, "01M7ZM00000000000000000000")
    await memory.whole()


async def test_a_promotion_can_be_taken_back(memory: Memory) -> None:
    await memory.learn(FEATURE, fact("SQLite"))
    tables = FactTables(memory.database)
    assert await tables.known("p") == {}
    now = BranchState("main", landed=frozenset({"m"}), tips={"main": "m", "feature": "f"})
    assert await memory.facts.reconcile("p", "here", now) == ()
    [move] = await memory.facts.reconcile(
        "p", "here", BranchState("main", tips=now.tips, landed=frozenset({"m", "f"}))
    )
    assert (move.why, await memory.texts(MAIN)) == ("merged", ["SQLite"])
    await memory.facts.drain()
    assert memory.git("branch", "--format=%(refname:short)").split() == ["project"]
    assert not (memory.folder / "p/memory/overlay/feature").exists()
    [entry, _] = await memory.facts.log("p", 10)
    await memory.facts.revert(MAIN, entry.change_id)
    assert (await memory.texts(MAIN), await memory.texts(FEATURE)) == ([], ["SQLite"])
    await memory.whole()


async def test_what_a_deleted_branch_left_can_be_recovered(memory: Memory) -> None:
    await memory.learn(FEATURE, fact("SQLite", "database"))
    here, gone = (
        BranchState("main", landed=frozenset({"m"}), tips={"main": "m", "feature": "f"}),
        BranchState("main", landed=frozenset({"m"}), tips={"main": "m"}),
    )
    await memory.facts.reconcile("p", "here", here)
    await memory.facts.reconcile("p", "clone", here)
    # The clone has the branch still.
    assert await memory.facts.reconcile("p", "here", gone) == ()
    assert await memory.texts(FEATURE) == ["SQLite"]
    await memory.facts.reconcile("p", "here", here)
    await memory.facts.reconcile("p", "clone", gone)
    [move] = await memory.facts.reconcile("p", "here", gone)
    assert (move.target, await memory.texts(FEATURE)) == ("archive/feature", [])
    await memory.whole()
    await memory.facts.recover("p", "feature")
    assert await memory.texts(FEATURE) == ["SQLite"]
    with pytest.raises(BadFact, match="Nothing was kept"):
        await memory.facts.recover("p", "feature")
    await memory.whole()


SECRET = "correct horse battery staple"


async def test_a_forgotten_fact_is_in_no_byte_of_the_folder(memory: Memory) -> None:
    await memory.learn(MAIN, fact("keep", "word"))
    [wanted] = (await memory.learn(MAIN, fact(f"it is {SECRET}", "word"))).ids
    await memory.facts.drain()
    await memory.learn(FEATURE, Amend(wanted, text=f"really {SECRET}", author="user"))
    await memory.learn(MAIN, Remember("pitfall", f"so say {SECRET}", author="user", derived_from=(wanted,)))
    await memory.learn(FEATURE, fact("stays too"))
    forgotten = await memory.facts.forget("p", wanted)
    assert len(forgotten.ids) == 2
    assert (await memory.texts(MAIN), await memory.texts(FEATURE)) == (["keep"], ["keep", "stays too"])
    assert "horse" not in memory.git("cat-file", "--batch-all-objects", "--batch")
    for path in memory.folder.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
    assert git(memory.folder / "p/memory/project", "status", "--short") == ""
    with pytest.raises(BadFact):
        await memory.facts.forget("p", wanted)
    await memory.whole()


async def test_two_processes_lose_no_change_and_no_key_has_two_values(memory: Memory, tmp_path: Path) -> None:
    other = await Memory.open(tmp_path)

    async def write(mine: Memory, name: str) -> None:
        for number in range(12):
            await mine.learn(MAIN, fact(f"{name} {number}", "shared"), fact(f"{name} own {number}"))
            if number % 4 == 0:
                await mine.facts.drain()

    async with asyncio.TaskGroup() as group:
        group.create_task(write(memory, "one"))
        group.create_task(write(other, "other"))
    texts = await memory.texts(MAIN)
    assert len([text for text in texts if "own" in text]) == 24
    assert len(texts) == 25
    async with asyncio.TaskGroup() as group:
        group.create_task(memory.facts.drain())
        group.create_task(other.facts.drain())
    assert len(memory.git("log", "--format=%h", "project").split()) == 24
    await other.close()
    await memory.whole()


async def test_what_somebody_commits_by_hand_stays(memory: Memory) -> None:
    await memory.learn(MAIN, fact("SQLite", "database"))
    await memory.facts.drain()
    tree = memory.folder / "p/memory/project"
    by_hand = example(5, "by hand", author="user")
    (tree / name_of(by_hand.id)).write_text(format_file(by_hand))
    (tree / "facts/notes.md").write_text("no fact at all")
    git(tree, "add", ".")
    git(tree, "-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-q", "-m", "Mine")
    await memory.learn(MAIN, fact("Postgres", "database"))
    await memory.facts.drain()
    [problem] = await memory.facts.rebuild("p")
    assert "facts/notes.md is no fact" in problem
    assert await memory.texts(MAIN) == ["Postgres", "by hand"]
    assert git(tree, "status", "--short") == ""


async def test_a_file_that_somebody_edits_stays_as_it_is(memory: Memory) -> None:
    [one, two] = (await memory.learn(MAIN, fact("SQLite", "database"), fact("tabs"))).ids
    await memory.facts.drain()
    tree = memory.folder / "p/memory/project"
    (tree / name_of(one)).write_text("my draft")
    await memory.learn(MAIN, Amend(one, text="Postgres", author="user"), fact("more"))
    await memory.facts.drain()
    assert (tree / name_of(one)).read_text() == "my draft"
    assert sorted(await memory.texts(MAIN)) == ["Postgres", "more", "tabs"]
    git(tree, "checkout", "-q", "HEAD", "--", ".")
    await memory.learn(MAIN, Retract(two))
    await memory.facts.drain()
    assert git(tree, "status", "--short") == ""
    await memory.whole()


@pytest.mark.parametrize("how", ["remove", "rmtree", "prune"])
async def test_worktrees_that_somebody_removes_take_nothing_along(memory: Memory, how: str) -> None:
    await memory.learn(MAIN, fact("SQLite"))
    await memory.facts.drain()
    tree = memory.folder / "p/memory/project"
    if how == "remove":
        memory.git("worktree", "remove", "--force", str(tree))
    else:
        shutil.rmtree(tree)
    if how == "prune":
        memory.git("worktree", "prune")
    await memory.learn(MAIN, fact("tabs"))
    await memory.whole()
    assert len([*tree.glob("facts/*.md")]) == 2
    assert git(tree, "status", "--short") == ""


async def test_a_repository_that_was_moved_away_is_made_again_without_loss_of_the_index(
    memory: Memory,
) -> None:
    await memory.learn(MAIN, fact("SQLite"))
    await memory.facts.drain()
    shutil.rmtree(memory.folder / "p")
    await memory.close()
    other = await Memory.open(memory.folder)
    await other.learn(MAIN, fact("tabs"))
    await other.facts.drain()
    assert await other.texts(MAIN) == ["SQLite", "tabs"]
    await other.close()


async def test_a_git_that_fails_loses_nothing(memory: Memory, tmp_path: Path) -> None:
    bin = tmp_path / "bin"
    bin.mkdir()
    (bin / "git").write_text("#!/bin/sh\necho 'fatal: No space left on device' >&2\nexit 128\n")
    (bin / "git").chmod(0o755)
    broken = MemoryRepository(tmp_path / "p", {**ENV, "PATH": str(bin)})
    facts = Facts(FactTables(memory.database), lambda _: broken, said)
    await facts.apply(MAIN, [fact("SQLite")])
    with pytest.raises(RepositoryError, match="disk is full"):
        await facts.drain()
    broken.close()
    assert await memory.texts(MAIN) == ["SQLite"]
    await memory.whole()


async def test_the_writer_writes_by_itself_and_goes_on_after_a_failure(memory: Memory) -> None:
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(memory.facts.keep())
        await memory.learn(MAIN, fact("SQLite"))
        async with asyncio.timeout(60):
            while await FactTables(memory.database).waiting():  # noqa: ASYNC110 (another task empties it)
                await asyncio.sleep(0.01)
        keeping.cancel()
    assert "decision active" in memory.git("log", "project")


async def test_a_cancelled_drain_is_done_by_the_next_one(memory: Memory) -> None:
    await memory.learn(MAIN, *(fact(f"fact {number}") for number in range(30)))
    await memory.learn(FEATURE, fact("on feature"))
    for delay in (0.0, 0.005, 0.02, 0.05):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(delay):
                await memory.facts.drain()
                await asyncio.sleep(1)
    await memory.whole()
    assert len(memory.git("log", "--format=%h", "--branches").split()) == 2


async def test_uses_are_counted(memory: Memory) -> None:
    ids = (await memory.learn(MAIN, fact("a"), fact("b"))).ids
    await memory.facts.note_uses("p", ids)
    await memory.facts.note_uses("p", ids[:1])
    assert await memory.facts.uses("p") == {ids[0]: 2, ids[1]: 1}


async def test_a_project_can_be_forgotten_as_a_whole(memory: Memory) -> None:
    await memory.learn(MAIN, fact(SECRET))
    await memory.learn(Place("q"), fact("other"))
    await FactTables(memory.database).remove("p")
    assert (await memory.texts(MAIN), await memory.texts(Place("q"))) == ([], ["other"])
    for path in memory.folder.glob("sessions.db*"):
        assert SECRET.encode() not in path.read_bytes()


async def test_the_first_page_of_five_thousand_facts_comes_quickly(memory: Memory) -> None:
    many = [
        example(number, f"fact number {number} " + "word " * 20, evidence=PROOF) for number in range(5_000)
    ]
    tables = FactTables(memory.database)
    assert await tables.append([queued_whole("p", "c", 1.0, many)], await tables.version())
    await memory.facts.visible(MAIN)
    begun = time.process_time()
    page = views.render("project", await memory.facts.visible(MAIN), views.PROJECT_CHARS)
    took = time.process_time() - begun
    print(f"first page of 5,000 facts: {took * 1000:.0f} ms")
    assert page.left_out > 4_900
    assert decode(await tables.list("p")) == tuple(many)


async def test_a_full_disk_refuses_what_it_cannot_keep_and_takes_the_rest_later(
    memory: Memory, tmp_path: Path
) -> None:
    with mounted(tmp_path / "disk", "size=512k") as disk:
        async with memory.on_disk(disk) as facts:
            filling = disk / "filling"
            fill(filling)
            await facts.apply(MAIN, [fact("second"), fact("third")])
            with pytest.raises(RepositoryError, match="The disk is full"):
                await facts.drain()
            assert await memory.texts(MAIN) == ["first", "second", "third"]
            filling.unlink()
            await facts.drain()
            assert await facts.problems("p") == await facts.rebuild("p") == ()
            assert await memory.texts(MAIN) == ["first", "second", "third"]
