"""The report of one shell: where it arrives, and what it is compared with."""

from __future__ import annotations

from collections.abc import Mapping

from hermes_acp.records import record
from hermes_acp.workspace.execution.base import ShellLost
from hermes_acp.workspace.execution.report_pipe import ReportPipe
from hermes_acp.workspace.execution.shell_report import Report, Unreadable, read
from hermes_acp.workspace.execution.shell_state import ShellState


@record
class Reporting:
    """One shell's report; `new` is a new shell without any environment, which is `env`."""

    pipe: ReportPipe
    env: Mapping[str, str]
    new: Report

    def state(self) -> ShellState:
        """The shell as it ended. Raises `ShellLost`; takes milliseconds for a large one."""
        if not self.pipe.text:
            raise ShellLost("its shell was replaced, or ended without a report")
        try:
            return read(self.pipe.text).state(self.env, self.new)
        except Unreadable as error:
            raise ShellLost(f"the report of its shell could not be used: {error}") from error
