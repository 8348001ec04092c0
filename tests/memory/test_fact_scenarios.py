"""Seeded stories of work with branches, each with the answers that are right at every step.

What the facts should be is kept in a few dictionaries here, in another way than the program does it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hermes_acp.memory import scopes, views
from hermes_acp.memory.facts.changes import Remember, Retract, Supersede
from hermes_acp.memory.facts.fact import Evidence
from hermes_acp.memory.scopes import Place
from hermes_acp.workspace import branch_state
from tests.memory.memories import PROOF, Memory, fact
from tests.workspace.repos import ENV, Repo, make

pytestmark = pytest.mark.slow

KEYS = ("database", "test command", "port", "formatter")
STEPS = 30


@dataclass
class Layer:
    """What a branch knows: a value and its time for each key; other facts by id; ids that it replaces."""

    keyed: dict[str, tuple[int, str]] = field(default_factory=dict)
    loose: dict[str, str] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)


@dataclass
class Tally:
    """What was asked, and what was answered rightly."""

    keyed: int = 0
    loose: int = 0
    promotions: int = 0
    unlearned: int = 0
    removed_trees: int = 0


class Story:
    def __init__(self, seed: int, repo: Repo, memory: Memory) -> None:
        self.random = random.Random(seed)
        self.repo = repo
        self.memory = memory
        self.main = Layer()
        self.branches: dict[str, Layer] = {}
        self.clock = 0
        self.tally = Tally()

    # --- what happens ----------------------------------------------------------------------------

    async def step(self) -> None:
        plots: list[Callable[[], object]] = [self.learn, self.learn, self.update, self.distract, self.unlearn]
        plots += [self.branch, self.retract, self.remove_tree]
        if self.branches:
            plots += [self.learn, self.update, self.merge, self.squash, self.rebase, self.rename, self.delete]
        told = self.random.choice(plots)()
        if told is not None:
            await told  # type: ignore[misc]
        await self.check()

    async def learn(self) -> None:
        name, layer = self.somewhere()
        self.clock += 1
        if self.random.random() < 0.5:
            key = self.random.choice(KEYS)
            text = f"{key} is {self.clock}"
            await self.say(name, fact(text, key))
            layer.keyed[key] = (self.clock, text)
        else:
            text = f"remark {self.clock}"
            [made] = await self.say(name, fact(text, kind=self.random.choice(("pitfall", "code-fact"))))
            layer.loose[made] = text

    async def update(self) -> None:
        """Something that has no key is said anew; on a branch the old text stays true elsewhere."""
        name, layer = self.somewhere()
        known = dict(layer.loose) if name == "main" else self.loose(layer)
        if not known:
            return
        old = self.random.choice(sorted(known))
        self.clock += 1
        text = f"{known[old].split(', now')[0]}, now {self.clock}"
        [made] = await self.say(name, Supersede(old, text, evidence=PROOF))
        layer.loose.pop(old, None)
        layer.hidden.add(old)
        layer.loose[made] = text

    async def distract(self) -> None:
        """What is no knowledge of this project: guesses, other projects, the same words again."""
        name, _ = self.somewhere()
        self.clock += 1
        guess = Remember(
            "decision", f"guess {self.clock}", "port", evidence=(Evidence("s", 1, "never said"),)
        )
        await self.say(name, guess)
        await self.memory.learn(Place("foreign"), fact(f"foreign {self.clock}", self.random.choice(KEYS)))
        if self.main.loose:
            text = self.random.choice(sorted(self.main.loose.values()))
            kinds = {item.text: item.kind for item in (await self.memory.facts.all("p")).values()}
            await self.say("main", fact(f"  {text.upper()} ", kind=kinds[text]))

    async def unlearn(self) -> None:
        """A lesson is taken back with what was made of it: not a byte of the page differs."""
        name, _ = self.somewhere()
        before = await self.pages()
        self.clock += 1
        place = await self.place(name)
        wrong = await self.memory.learn(place, fact(f"wrong {self.clock}", self.random.choice(KEYS)))
        resting = Remember("procedure", f"rests on {self.clock}", derived_from=wrong.ids, evidence=PROOF)
        await self.memory.learn(place, resting)
        if self.random.random() < 0.5:
            await self.memory.facts.drain()
        await self.memory.facts.revert(place, wrong.change_id)
        assert await self.pages() == before
        self.tally.unlearned += 1

    async def retract(self) -> None:
        if self.main.loose and not any(layer.hidden for layer in self.branches.values()):
            gone = self.random.choice(sorted(self.main.loose))
            if all(gone not in item.supersedes for item in (await self.memory.facts.all("p")).values()):
                known = (await self.memory.facts.all("p"))[gone]
                if not known.supersedes:
                    await self.memory.learn(await self.place("main"), Retract(gone))
                    del self.main.loose[gone]

    def branch(self) -> None:
        self.clock += 1
        name = f"{self.random.choice(('feature/', 'fix-', ''))}work{self.clock}"
        self.repo.git("branch", name, "main")
        self.branches[name] = Layer()

    async def merge(self) -> None:
        name = await self.worked()
        self.repo.git("switch", "-q", "main")
        self.repo.git("merge", "-q", self.random.choice(("--no-ff", "--ff")), "-m", "Merge", name)
        await self.landed(name)

    async def squash(self) -> None:
        name = await self.worked()
        self.repo.git("switch", "-q", "main")
        self.repo.git("merge", "-q", "--squash", name)
        self.repo.git("commit", "-q", "-m", "Squashed")
        await self.landed(name, gone=True)

    async def rebase(self) -> None:
        name = await self.worked()
        self.commit("main")
        self.repo.git("cherry-pick", f"main..{name}")
        await self.landed(name, gone=True)

    async def rename(self) -> None:
        name = await self.worked()
        self.clock += 1
        self.repo.git("branch", "-m", name, f"renamed{self.clock}")
        self.branches[f"renamed{self.clock}"] = self.branches.pop(name)

    async def delete(self) -> None:
        name = await self.worked()
        self.repo.git("switch", "-q", "main")
        self.repo.git("branch", "-D", name)
        del self.branches[name]

    async def remove_tree(self) -> None:
        """Somebody works in a linked worktree and throws it away."""
        self.clock += 1
        name, tree = f"side{self.clock}", self.repo.top.parent / f"tree{self.clock}"
        self.repo.git("worktree", "add", "-q", "-b", name, str(tree), "main")
        self.branches[name] = Layer()
        (tree / f"file{self.clock}.txt").write_text(f"text {self.clock}\n")
        self.repo.git("-C", str(tree), "add", ".")
        self.repo.git("-C", str(tree), "commit", "-q", "-m", "Side")
        place = await self.place(name, tree)
        await self.memory.learn(place, fact(f"port is {self.clock}", "port"))
        self.branches[name].keyed["port"] = (self.clock, f"port is {self.clock}")
        self.repo.git("worktree", "remove", "--force", str(tree))
        self.tally.removed_trees += 1

    # --- what is right ---------------------------------------------------------------------------

    async def landed(self, name: str, *, gone: bool = False) -> None:
        if gone:
            self.repo.git("branch", "-D", name)
        layer = self.branches.pop(name)
        if not gone:
            self.branches[name] = Layer()
        for key, value in layer.keyed.items():
            self.main.keyed[key] = max(self.main.keyed.get(key, value), value)
        for old in layer.hidden:
            self.main.loose.pop(old, None)
        self.main.loose |= layer.loose
        self.main.hidden |= layer.hidden
        self.tally.promotions += 1

    def loose(self, layer: Layer) -> dict[str, str]:
        wide = {known: text for known, text in self.main.loose.items() if known not in layer.hidden}
        return wide | layer.loose

    async def check(self) -> None:
        for name in self.looked_at():
            layer = self.main if name == "main" else self.branches[name]
            seen = await self.memory.facts.visible(await self.place(name))
            keyed = {item.key: item.text for item in seen if item.key}
            right = {key: text for key, (_, text) in self.main.keyed.items()}
            right |= {key: text for key, (_, text) in layer.keyed.items()}
            assert keyed == right, name
            loose = sorted(item.text for item in seen if not item.key)
            assert loose == sorted((layer.loose if name == "main" else self.loose(layer)).values()), name
            assert all(proof.found and proof.quote for item in seen for proof in item.evidence)
            assert all(item.evidence for item in seen)
            self.tally.keyed += len(keyed)
            self.tally.loose += len(loose)

    # --- the world -------------------------------------------------------------------------------

    def looked_at(self) -> list[str]:
        """The main branch and some others; in time, all."""
        return ["main", *self.random.sample(sorted(self.branches), min(2, len(self.branches)))]

    def somewhere(self) -> tuple[str, Layer]:
        name = self.random.choice(["main", *self.branches])
        return name, self.main if name == "main" else self.branches[name]

    async def say(self, name: str, change: Remember | Supersede) -> tuple[str, ...]:
        made = await self.memory.learn(await self.place(name), change)
        if self.random.random() < 0.3:
            await self.memory.facts.drain()
        return made.ids

    async def worked(self) -> str:
        """A branch on which there was work, seen by the server."""
        name = self.random.choice(sorted(self.branches))
        self.commit(name)
        await self.place(name)
        return name

    def commit(self, name: str) -> None:
        self.clock += 1
        self.repo.git("switch", "-q", name)
        self.repo.write(f"file{self.clock}.txt", f"text {self.clock}\n")
        self.repo.commit(f"Write {self.clock}")

    async def place(self, name: str, top: Path | None = None) -> Place:
        if top is None:
            self.repo.git("switch", "-q", name)
        asked = await self.memory.facts.asked("p", "here")
        where = str(top or self.repo.top)
        state = await branch_state.look(where, ENV, asked.before, asked.wanted, asked.commits)
        await self.memory.facts.reconcile("p", "here", state, "s1")
        return Place("p", scopes.scope_at(state.branch, state.default, "s1"))

    async def pages(self) -> list[str]:
        places = [await self.place(name) for name in ("main", *sorted(self.branches)[:1])]
        return [
            views.render("project", await self.memory.facts.visible(place), 1_000).text for place in places
        ]


@pytest.mark.parametrize("seed", range(8))
async def test_at_every_step_of_a_story_the_newest_valid_facts_are_seen_and_no_others(
    seed: int, tmp_path: Path
) -> None:
    memory = await Memory.open(tmp_path / "data")
    story = Story(seed, make(tmp_path / "code", {"a.txt": "one\n"}), memory)
    await story.check()
    for _ in range(STEPS):
        await story.step()
    print(seed, story.tally)
    await memory.whole(("p", "foreign"))
    await story.check()
    await memory.close()
