"""Events that come out of a session (`ops` are what goes in): pure data, no behaviour.

Everything a window shows, a journal keeps or an export reads is one of these events. Nothing here
knows a protocol, a terminal or a database; of the package it imports only `content`.

*Durable* events are numbered without a gap and written to the journal before anybody sees them.
*Live* events (`LIVE`) are progress for whoever is watching: they carry no number, are not part of
the journal (which keeps the text of an unfinished answer aside), and everything lasting in them is
repeated by a later durable event.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from hermes_acp.content import Block, ImageBlock, Location, Shown
from hermes_acp.records import record

# --- parts of events -----------------------------------------------------------------------------


@record
class ToolRequest:
    """A call as the model wrote it; `arguments` is the JSON text, possibly malformed."""

    call_id: str
    name: str
    arguments: str


@record
class ExitStatus:
    """How a command ended: an exit code, or the name of the signal that ended it."""

    code: int | None
    signal: str | None = None


@record
class PlanEntry:
    """One line of the agent's plan."""

    content: str
    status: Literal["pending", "in_progress", "completed"] = "pending"
    priority: Literal["high", "medium", "low"] = "medium"


@record
class Choice:
    """One possible answer to a permission request."""

    option_id: str
    name: str
    kind: Literal["allow_once", "allow_always", "reject_once", "reject_always"]


@record
class Field:
    """One thing the agent asks the user for: free text, or one (or several) of `choices`."""

    name: str
    title: str
    choices: tuple[str, ...] = ()
    many: bool = False
    required: bool = True


@record
class OptionValue:
    """One value that a session option can take."""

    value: str
    name: str
    description: str | None = None


@record
class Option:
    """A setting of the session that the user can change between turns."""

    option_id: str
    name: str
    category: Literal["mode", "model", "thought_level", "other"]
    current: str
    values: tuple[OptionValue, ...]
    description: str | None = None


@record
class Command:
    """A slash command; `hint` is None when it takes no input."""

    name: str
    description: str
    hint: str | None = None


@record
class Usage:
    """Tokens of one model request; `cost` in US dollars where the price is known."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    cost: float | None = None


StopReason: TypeAlias = Literal[
    "end_turn", "max_tokens", "max_turn_requests", "refusal", "cancelled", "error", "interrupted"
]
"""The five of ACP, and `error` (the model or the disk failed) and `interrupted` (the server died)."""

ToolKind: TypeAlias = Literal[
    "read", "edit", "delete", "move", "search", "execute", "think", "fetch", "switch_mode", "other"
]

ToolOutcome: TypeAlias = Literal["completed", "failed", "refused", "cancelled", "unknown"]
"""`unknown`: the server died while the tool ran; nobody knows what it did, and it is not re-run."""


FactStatus: TypeAlias = Literal["proposed", "active", "superseded", "retracted"]


@record
class FactNote:
    """A fact as it was told of; `why` says for what reason, empty where nobody asks."""

    fact_id: str
    kind: str
    status: FactStatus
    text: str
    why: str = ""


# --- durable events ------------------------------------------------------------------------------


@record
class SessionStarted:
    """The first event of every session."""

    cwd: str
    additional_directories: tuple[str, ...] = ()
    type: Literal["session_started"] = "session_started"


@record
class TurnStarted:
    """The user's message was accepted and its turn begins. `client` names the window it came from.

    A turn `aside` is a command, and no part of the conversation. `speaker`: who said it, when imported.
    `branch` is what was checked out in the `worktree` then: without a branch the commit, empty without git.
    """

    message_id: str
    content: tuple[Block, ...]
    client: str = ""
    aside: bool = False
    speaker: str = ""
    branch: str = ""
    worktree: str = ""
    type: Literal["turn_started"] = "turn_started"


@record
class Steered:
    """A message of the user that joined the running turn."""

    message_id: str
    content: tuple[Block, ...]
    client: str = ""
    type: Literal["steered"] = "steered"


@record
class MessageCompleted:
    """One whole answer of the model. `text` and `thought` equal the deltas that came before it.

    `opaque` is provider state that has to go back unchanged (thinking signatures), as JSON text;
    `speaker` names who said it where that was no model of ours.
    """

    message_id: str
    text: str
    thought: str = ""
    tool_calls: tuple[ToolRequest, ...] = ()
    opaque: str | None = None
    speaker: str = ""
    type: Literal["message_completed"] = "message_completed"


@record
class ToolCallStarted:
    """A tool call is about to be judged and run."""

    call_id: str
    name: str
    title: str
    kind: ToolKind
    arguments: str
    locations: tuple[Location, ...] = ()
    type: Literal["tool_call_started"] = "tool_call_started"


@record
class ToolCallFinished:
    """The end of a tool call: exactly one for each `ToolCallStarted`, on cancel too."""

    call_id: str
    outcome: ToolOutcome
    result: str
    shown: tuple[Shown, ...] = ()
    locations: tuple[Location, ...] = ()
    images: tuple[ImageBlock, ...] = ()
    exit: ExitStatus | None = None
    title: str | None = None
    type: Literal["tool_call_finished"] = "tool_call_finished"


@record
class ApprovalRequested:
    """May this call do what `shown` and `reason` say? Answered by `Answer(request_id, …)`."""

    request_id: str
    call_id: str
    title: str
    reason: str
    choices: tuple[Choice, ...]
    shown: tuple[Shown, ...] = ()
    locations: tuple[Location, ...] = ()
    type: Literal["approval_requested"] = "approval_requested"


@record
class ApprovalResolved:
    """The end of an approval: the choice and who made it, or None when nobody answered."""

    request_id: str
    call_id: str
    option_id: str | None
    client: str = ""
    type: Literal["approval_resolved"] = "approval_resolved"


@record
class QuestionAsked:
    """The agent asks the user something. Answered by `Answer(request_id, …)`."""

    request_id: str
    call_id: str
    message: str
    fields: tuple[Field, ...]
    type: Literal["question_asked"] = "question_asked"


@record
class QuestionAnswered:
    """The end of a question. `values` is a JSON object as text, None when there is no answer."""

    request_id: str
    call_id: str
    outcome: Literal["answered", "declined", "unanswered"]
    values: str | None = None
    client: str = ""
    type: Literal["question_answered"] = "question_answered"


@record
class PlanUpdated:
    """The whole plan as it is now."""

    entries: tuple[PlanEntry, ...]
    type: Literal["plan_updated"] = "plan_updated"


@record
class ContextCompacted:
    """Everything before this event is replaced by `summary` for the model; the journal keeps it."""

    compaction_id: str
    status: Literal["completed", "failed", "cancelled"]
    summary: str = ""
    error: str | None = None
    type: Literal["context_compacted"] = "context_compacted"


@record
class CheckpointTaken:
    """The files at `root` were recorded before the last turn's effects, or after; the last one counts."""

    checkpoint_id: str
    root: str
    moment: Literal["before", "after"]
    left_out: tuple[str, ...] = ()
    type: Literal["checkpoint_taken"] = "checkpoint_taken"


@record
class CheckpointMissed:
    """There is no such checkpoint: what the turn did to files cannot be taken back. `reason` is a clause."""

    reason: str
    type: Literal["checkpoint_missed"] = "checkpoint_missed"


@record
class Rewound:
    """The last `count` turns that were not aside were taken back, or brought back again: files and words."""

    count: int
    direction: Literal["undo", "redo"]
    type: Literal["rewound"] = "rewound"


@record
class MemoryChanged:
    """Facts were learned, changed or taken back; `by` whom: the agent's tool, what it thought after a turn,
    or the user. Of a `turn` that was taken back, they went with it, or came back with it the next time.
    """

    change_id: str
    facts: tuple[FactNote, ...]
    by: Literal["agent", "reflection", "user"]
    turn: str = ""
    type: Literal["memory_changed"] = "memory_changed"


@record
class FactsShown:
    """The model sees these facts: in its instructions, since the `start`, or because they fit a `turn`.

    Those of the start have no text here: the history of the memory has it.
    """

    facts: tuple[FactNote, ...]
    moment: Literal["start", "turn"]
    type: Literal["facts_shown"] = "facts_shown"


@record
class PassagesShown:
    """The model sees what a memory service outside of this program has, because it may fit the turn.

    `text` was screened as the output of a tool is: strangers may have written it.
    """

    source: str
    text: str
    type: Literal["passages_shown"] = "passages_shown"


@record
class UsageUpdated:
    """Tokens in the context, the size of the window, and the session's cost so far (US dollars)."""

    used: int
    size: int
    cost: float | None = None
    type: Literal["usage_updated"] = "usage_updated"


@record
class TurnEnded:
    """The last event of a turn, once. `error` is a sentence for the user; `client` who cancelled it."""

    stop_reason: StopReason
    error: str | None = None
    needs_login: bool = False
    client: str = ""
    type: Literal["turn_ended"] = "turn_ended"


# --- live events ---------------------------------------------------------------------------------


@record
class StepStarted:
    """One request to the model begins; steps are counted from 1 within a turn."""

    step: int
    model: str
    type: Literal["step_started"] = "step_started"


@record
class TextDelta:
    """A piece of the model's answer, `offset` characters after its beginning."""

    message_id: str
    text: str
    offset: int
    type: Literal["text_delta"] = "text_delta"


@record
class ThoughtDelta:
    """A piece of the model's reasoning, `offset` characters after its beginning."""

    message_id: str
    text: str
    offset: int
    type: Literal["thought_delta"] = "thought_delta"


@record
class MessageDiscarded:
    """What came of this message does not count: the model is asked again, for another message."""

    message_id: str
    type: Literal["message_discarded"] = "message_discarded"


@record
class ToolCallAnnounced:
    """The model began to write a call whose arguments are still streaming."""

    call_id: str
    name: str
    kind: ToolKind
    type: Literal["tool_call_announced"] = "tool_call_announced"


@record
class ToolCallProgress:
    """A running call has news: `output` is appended to what came before, `shown` replaces it."""

    call_id: str
    output: str = ""
    shown: tuple[Shown, ...] | None = None
    type: Literal["tool_call_progress"] = "tool_call_progress"


@record
class CompactionStarted:
    """The context is being summarised; its end is a `ContextCompacted` with the same id."""

    compaction_id: str
    type: Literal["compaction_started"] = "compaction_started"


@record
class SummaryDelta:
    """A piece of the summary, after `offset` characters of it were shown; the whole comes at the end."""

    compaction_id: str
    text: str
    offset: int
    type: Literal["summary_delta"] = "summary_delta"


@record
class OptionsChanged:
    """All settings of the session as they are now."""

    options: tuple[Option, ...]
    type: Literal["options_changed"] = "options_changed"


@record
class TitleChanged:
    """The session has a (new) title."""

    title: str
    type: Literal["title_changed"] = "title_changed"


@record
class PlaceChanged:
    """The session works in another folder from now on."""

    cwd: str
    type: Literal["place_changed"] = "place_changed"


@record
class CommandsChanged:
    """All slash commands as they are now."""

    commands: tuple[Command, ...]
    type: Literal["commands_changed"] = "commands_changed"


@record
class Notice:
    """Something the user should know; not part of the conversation."""

    severity: Literal["info", "warning", "error"]
    title: str
    description: str | None = None
    type: Literal["notice"] = "notice"


@record
class PromptDropped:
    """A prompt (the envelope's turn) was cancelled before its turn began; it left no trace."""

    type: Literal["prompt_dropped"] = "prompt_dropped"


@record
class JournalFailed:
    """Events could not be written. What was not acknowledged is gone; the session goes on."""

    message: str
    type: Literal["journal_failed"] = "journal_failed"


@record
class SessionEnded:
    """The session has left memory: nothing follows. `client` is the window that wanted it, for `reason`."""

    reason: str = ""
    client: str = ""
    type: Literal["session_ended"] = "session_ended"


Durable: TypeAlias = (
    SessionStarted
    | TurnStarted
    | Steered
    | MessageCompleted
    | ToolCallStarted
    | ToolCallFinished
    | ApprovalRequested
    | ApprovalResolved
    | QuestionAsked
    | QuestionAnswered
    | PlanUpdated
    | ContextCompacted
    | CheckpointTaken
    | CheckpointMissed
    | Rewound
    | MemoryChanged
    | FactsShown
    | PassagesShown
    | UsageUpdated
    | TurnEnded
)
Live: TypeAlias = (
    StepStarted
    | TextDelta
    | ThoughtDelta
    | MessageDiscarded
    | ToolCallAnnounced
    | ToolCallProgress
    | CompactionStarted
    | SummaryDelta
    | OptionsChanged
    | TitleChanged
    | PlaceChanged
    | CommandsChanged
    | Notice
    | PromptDropped
    | JournalFailed
    | SessionEnded
)
Event: TypeAlias = Durable | Live

LIVE: tuple[type, ...] = get_args(Live)


@record
class Envelope:
    """An event with its place: `seq` counts the session's durable events from 1, None when live.

    `turn_id` is empty between turns; `agent_path` names the subagent (empty: the agent itself);
    `at` is seconds since the epoch, never smaller than that of the event before.
    """

    session_id: str
    seq: int | None
    turn_id: str
    at: float
    event: Event
    agent_path: str = ""
