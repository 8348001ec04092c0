"""The windows that hold a session, and what their editors lend it: buffers and terminals.

The window whose prompt runs lends first, because its user is looking at it; then the others, the
newest first. What nobody lends is done by the server itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hermes_acp.policy.effects import Permit
from hermes_acp.records import record
from hermes_acp.workspace.editors import EditorFiles
from hermes_acp.workspace.execution.base import Execution, Launch, Process


@record
class Loan:
    """What one window's editor does for a session; None where it does not."""

    files: EditorFiles | None = None
    execution: Execution | None = None
    gone: Callable[[], bool] = lambda: False
    """Whether the window can no longer be reached: nothing is asked of it then."""


class Windows:
    """Who is there. As an `Execution`, it runs commands where they are seen best."""

    def __init__(self, own: Execution) -> None:
        self.prompting = ""
        """The label of the window whose prompt runs, empty when none does."""
        self._own = own
        self._loans: dict[str, Loan] = {}

    def join(self, client: str, loan: Loan) -> None:
        """A window opened the session, or opened it once more."""
        self._loans.pop(client, None)
        self._loans[client] = loan

    def leave(self, client: str) -> None:
        """A window let go of the session; one that did so before changes nothing."""
        self._loans.pop(client, None)

    @property
    def empty(self) -> bool:
        """Whether nobody holds the session."""
        return not self._loans

    def files(self) -> EditorFiles | None:
        """The buffers to use now, None for the disk."""
        return next((loan.files for loan in self._lenders() if loan.files is not None), None)

    async def start(self, permit: Permit, launch: Launch) -> Process:
        """Start a command in a lent terminal, else as a process of our own. Raises `ExecutionError`.

        What has to run in the sandbox is never lent: an editor has none.
        """
        if permit.confinement is not None:
            return await self._own.start(permit, launch)
        lent = (loan.execution for loan in self._lenders() if loan.execution is not None)
        return await next(lent, self._own).start(permit, launch)

    def _lenders(self) -> Iterator[Loan]:
        first = self._loans.get(self.prompting)
        newest = reversed(self._loans.values())
        for loan in (first, *(loan for loan in newest if loan is not first)):
            if loan is not None and not loan.gone():
                yield loan
