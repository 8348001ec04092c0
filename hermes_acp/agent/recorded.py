"""What the record of a turn's files is made from, and why there may be none."""

from __future__ import annotations

from hermes_acp.records import record
from hermes_acp.workspace.documents import Document


class NotRecorded(Exception):
    """The files cannot be recorded; `str()` is a clause that says why."""


@record
class Written:
    """A file before the turn's first write and after its last one.

    Not `sure`: an editor was asked to, and nobody knows whether it did. `runs` counts the programs
    that had run until then.
    """

    before: Document
    after: Document
    sure: bool
    runs: int
