"""What the project's people wrote for agents: instructions where the user trusts it, data where not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from hermes_acp.agent import prompts
from hermes_acp.policy import provenance, trust
from hermes_acp.policy.masking import Masks
from hermes_acp.policy.trust import Feature
from hermes_acp.records import record
from hermes_acp.workspace import project
from hermes_acp.workspace.locations import printable
from hermes_acp.workspace.project import Project


@record
class Instruction:
    """The text of one file; `feature` is None where there is only a note why it could not be read."""

    path: str
    text: str
    feature: Feature | None
    trusted: bool = False


@record
class Instructions:
    """The texts of a project, the nearest to the working directory last.

    `suspicious`: what is shown as data tries to pass for instructions; the user should be told.
    """

    place: Project
    texts: tuple[Instruction, ...]
    suspicious: str = ""

    @property
    def features(self) -> frozenset[Feature]:
        """What the user has to trust before it counts as instructions."""
        return frozenset(text.feature for text in self.texts if text.feature is not None)

    def trusting(self, enabled: frozenset[Feature]) -> Instructions:
        """The same with these trusted; what is left is searched for hidden orders; for a thread."""
        texts: list[Instruction] = []
        warnings: list[str] = []
        for item in self.texts:
            trusted = item.feature in enabled
            checked = provenance.Checked(item.text) if trusted else provenance.neutralised(item.text)
            texts.append(replace(item, text=checked.text, trusted=trusted))
            if checked.warning:
                warnings.append(f"{printable(item.path)}: {checked.warning}")
        return replace(self, texts=tuple(texts), suspicious="\n".join(warnings))

    def without_secrets(self, masks: Masks) -> Instructions:
        """The same with marks in place of secrets; for a thread."""
        return replace(self, texts=tuple(replace(item, text=masks.hide(item.text)) for item in self.texts))

    def said(self) -> str:
        """What the model is told."""
        trusted = "\n".join(f"\n## {printable(item.path)}\n{item.text.strip()}" for item in self._of(True))
        data = "\n".join(f"\n## {printable(item.path)}\n{_quoted(item.text)}" for item in self._of(False))
        return "".join(
            (
                prompts.render("instructions", files=trusted) if trusted else "",
                prompts.render("project_texts", files=data) if data else "",
            )
        )

    def _of(self, trusted: bool) -> Iterable[Instruction]:  # noqa: FBT001 -- which of two kinds
        return (item for item in self.texts if item.trusted == trusted)


async def read(cwd: str, place: Project) -> Instructions:
    """The instructions for work in `cwd`, none of them trusted yet."""
    files = await project.instruction_files(cwd, place.root)
    return await asyncio.to_thread(_made, place, files)


def feature(path: str, root: str, text: str) -> Feature:
    """What trust in a file below `root` with this text rests on; for a thread, as the text may be long."""
    return Feature("instructions", path[len(root.rstrip("/")) + 1 :], trust.digest(text))


def _made(place: Project, files: Iterable[project.InstructionFile]) -> Instructions:
    return Instructions(
        place, tuple(Instruction(file.path, file.text, _feature(file, place.root)) for file in files)
    )


def _feature(file: project.InstructionFile, root: str) -> Feature | None:
    return feature(file.path, root, file.whole) if file.whole.strip() else None


def _quoted(text: str) -> str:
    """No line of it can be taken for one of ours."""
    return "\n".join(f"> {line}".rstrip() for line in text.strip().splitlines())
