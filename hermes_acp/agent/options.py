"""The session's options as the user sees them: mode, model and effort."""

from __future__ import annotations

from dataclasses import field, replace

from hermes_acp.events import Notice, Option, OptionValue
from hermes_acp.records import record

MODES = (
    OptionValue("ask", "Ask", "Ask before every edit, command and fetch"),
    OptionValue("accept_edits", "Accept edits", "Edit files in the workspace unasked, ask for the rest"),
    OptionValue("auto", "Auto", "Edit files and run commands in the sandbox unasked, ask for the rest"),
    OptionValue("full", "Full", "Ask for nothing: every command runs with all your rights"),
    OptionValue("plan", "Plan", "Read and think only: change nothing, propose a plan"),
)
FULL_MODE = Notice(
    "warning",
    "Mode full: nothing is asked for",
    "Every edit, command and fetch happens at once, with all your rights and outside the sandbox. Only your "
    "own rules that forbid something, and the limits for disks and whole systems, still hold.",
)
EFFORTS = (
    OptionValue("default", "Default", "As much thinking as the model does by itself"),
    OptionValue("none", "None", "No thinking"),
    OptionValue("low", "Low", "A little thinking"),
    OptionValue("medium", "Medium", "Some thinking"),
    OptionValue("high", "High", "A lot of thinking"),
)
ISOLATIONS = (
    OptionValue("in_place", "In place", "Work in your own files"),
    OptionValue("worktree", "Worktree", "Work on a branch of its own; /diff, /apply, /merge or /discard it"),
)


class BadOption(ValueError):
    """There is no such option or value; `str()` names those that there are."""


@record
class Choices:
    """The current values."""

    mode: str
    model: str
    effort: str
    isolation: str = "in_place"
    isolations: tuple[OptionValue, ...] = field(default=ISOLATIONS, compare=False)
    """Where this session can work: only a repository has worktrees."""

    def options(self, models: tuple[OptionValue, ...]) -> tuple[Option, ...]:
        """All options with all values; the current model is always among them."""
        if all(item.value != self.model for item in models):
            models = (OptionValue(self.model, self.model), *models)
        return (
            Option("mode", "Mode", "mode", self.mode, MODES, "What the agent may do unasked"),
            Option("model", "Model", "model", self.model, models, "The language model"),
            Option("effort", "Effort", "thought_level", self.effort, EFFORTS, "How much the model thinks"),
            Option(
                "isolation", "Isolation", "other", self.isolation, self.isolations, "Where the agent works"
            ),
        )

    def with_option(self, option_id: str, value: str, models: tuple[OptionValue, ...]) -> Choices:
        """The choices after setting one option. Raises `BadOption`."""
        option = next((item for item in self.options(models) if item.option_id == option_id), None)
        if option is None:
            raise BadOption(f"There is no option {option_id!r}: use mode, model, effort or isolation.")
        if all(item.value != value for item in option.values):
            known = ", ".join(item.value for item in option.values)
            raise BadOption(f"{option.name} cannot be {value!r}: choose one of {known}.")
        match option_id:
            case "mode":
                return replace(self, mode=value)
            case "model":
                return replace(self, model=value)
            case "effort":
                return replace(self, effort=value)
            case _:
                return replace(self, isolation=value)
