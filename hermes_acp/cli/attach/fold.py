"""Updates of the protocol to what a window shows: a pure state machine.

Every function takes the state and gives the next one, with the pieces that became complete and can
be printed for good. What is incomplete (a growing text, open tool calls) stays in the state.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

from hermes_acp.cli.attach import received
from hermes_acp.cli.attach.blocks import split
from hermes_acp.cli.attach.pieces import (
    STATUSES,
    AgentText,
    Card,
    Ended,
    Note,
    Piece,
    Plan,
    Thought,
    UserText,
)
from hermes_acp.cli.attach.state import Growing, Queued, State
from hermes_acp.server.messages import Json

OUTPUT_CHARS = 64 * 1024
"""The end of a running command's output that is kept."""
THOUGHTS = 64
"""Thoughts of one turn that are kept; the newest count."""

Result: TypeAlias = tuple[State, tuple[Piece, ...]]

_ACTIVITY = frozenset({"agent_message_chunk", "agent_thought_chunk", "tool_call", "tool_call_update", "plan"})


def updated(state: State, update: Json) -> Result:
    """Take in a `session/update`."""
    kind = update.get("sessionUpdate")
    pieces: tuple[Piece, ...] = ()
    if kind in _ACTIVITY:
        state, pieces = _active(state)
    match kind:
        case "agent_message_chunk" | "agent_thought_chunk" | "user_message_chunk":
            state, more = _chunk(state, update)
        case "tool_call" | "tool_call_update":
            state, more = _call(state, update)
        case "plan":
            state, more = _plan(state, update)
        case "session_info_update":
            state, more = _info(state, update)
        case "notice":
            state, more = _notice(state, update)
        case "compaction_update":
            state, more = _compaction(state, update)
        case _:
            state, more = _setting(state, update), ()
    return state, (*pieces, *more)


def opened(state: State, answer: Json) -> Result:
    """The session is open: what comes from now on happens now."""
    state, pieces = _flush(state)
    found = received.options(answer.get("configOptions")) or state.options
    # A call that has not ended is a turn that still runs.
    state = replace(state, options=found, loading=False, working=bool(state.cards))
    state, plan = _tell_plan(state)
    return state, (*pieces, *plan)


def prompted(state: State, key: int, text: str) -> Result:
    """The user sent a prompt from this window; it waits when a turn runs."""
    said = UserText(received.text(text))
    if state.busy:
        return replace(state, queue=(*state.queue, Queued(key, said))), ()
    state, pieces = _flush(state)
    return _begun(state), (*pieces, said)


def steered(state: State, text: str) -> Result:
    """The user said something into the running turn from this window."""
    state, pieces = _flush(state)
    return state, (*pieces, UserText(received.text(text), steered=True))


def stopped(state: State) -> State:
    """The user stopped the turn from this window."""
    return replace(state, stopping=state.busy)


def answered(state: State, key: int, end: Ended) -> Result:
    """The prompt of this window came to its end: its turn, or it was dropped before it began."""
    queued = next((item for item in state.queue if item.key == key), None)
    if queued is None:
        told = state.end_told or _is_plain(end)
        state, pieces = _turn_over(state)
        return state, pieces if told else (*pieces, end)
    state = replace(state, queue=tuple(item for item in state.queue if item is not queued))
    if end.reason == "cancelled":
        return state, (Note(f"Not sent: {queued.said.text}"),)
    state, pieces = _turn_over(state)
    return state, (queued.said, *pieces) if _is_plain(end) else (queued.said, *pieces, end)


def _is_plain(end: Ended) -> bool:
    return end.reason == "end_turn" and not end.error


# --- turns ---------------------------------------------------------------------------------------


def _active(state: State) -> Result:
    """Something happens in a turn; if none was known, it is ours that waited, or another window's."""
    if state.working or state.loading:
        return state, ()
    if not state.queue:
        return _begun(state), ()
    first, *rest = state.queue
    return replace(_begun(state), queue=tuple(rest)), (first.said,)


def _begun(state: State) -> State:
    return replace(state, working=True, end_told=False, thoughts=())


def _turn_over(state: State) -> Result:
    state, pieces = _flush(state)
    # A turn that was cut off may have left calls that nobody will finish.
    cards = state.cards
    state, plan = _tell_plan(replace(state, working=False, stopping=False, cards=()))
    return state, (*pieces, *cards, *plan)


def _tell_plan(state: State) -> Result:
    if state.plan_told or state.loading or not state.plan.steps:
        return state, ()
    return replace(state, plan_told=True), (state.plan,)


# --- messages ------------------------------------------------------------------------------------


def _chunk(state: State, update: Json) -> Result:
    found = received.block(update.get("content"))
    message_id = str(update.get("messageId") or "")
    match update.get("sessionUpdate"):
        case "agent_message_chunk":
            return _grow(state, Growing("agent", message_id, found))
        case "agent_thought_chunk":
            return _grow(state, Growing("thought", message_id, found))
        case _:
            window = received.line(_hermes(update).get("client"))
            state, pieces = _grow(state, Growing("user", message_id, found, window=window))
            return (state if state.loading or state.working else _begun(state)), pieces


def _grow(state: State, more: Growing) -> Result:
    pieces: tuple[Piece, ...] = ()
    old = state.growing
    if old is None or (old.kind, old.message_id) != (more.kind, more.message_id):
        state, pieces = _flush(state)
        old = replace(more, text="")
    joined = old.text + more.text
    if more.kind != "agent" or "\n" not in joined:
        return replace(state, growing=replace(old, text=joined)), pieces
    done, rest = split(joined)
    if not done.strip():
        return replace(state, growing=replace(old, text=joined)), pieces
    part = AgentText(done.strip("\n"), first=not old.begun)
    return replace(state, growing=replace(old, text=rest, begun=True)), (*pieces, part)


def _flush(state: State) -> Result:
    """Give out the message that grew: something else comes."""
    growing, state = state.growing, replace(state, growing=None)
    if growing is None or not growing.text.strip():
        return state, ()
    text = growing.text.strip("\n")
    match growing.kind:
        case "agent":
            return state, (AgentText(text, first=not growing.begun),)
        case "user":
            return state, (UserText(text, here=state.loading, window=growing.window),)
        case "thought":
            thought = Thought(text)
            return replace(state, thoughts=(*state.thoughts, thought)[-THOUGHTS:]), (thought,)


# --- tool calls ----------------------------------------------------------------------------------


def _call(state: State, update: Json) -> Result:
    call_id = str(update.get("toolCallId"))
    if who := received.line(_hermes(update).get("resolvedBy")):
        return _resolved(state, update, who)
    known = next((card for card in state.cards if card.call_id == call_id), None)
    card = _card(known or Card(call_id), update)
    ended = card.status in ("completed", "failed")
    state, pieces = _flush(state) if known is None else (state, ())
    others = tuple(item for item in state.cards if item.call_id != call_id)
    if ended:
        # The plan is shown as a checklist, not as the call that made it.
        shown = () if card.kind == "think" and card.status == "completed" else (card,)
        return replace(state, cards=others), (*pieces, *shown)
    if known is None:
        return replace(state, cards=(*others, card)), pieces
    cards = tuple(card if item.call_id == call_id else item for item in state.cards)
    return replace(state, cards=cards), pieces


def _resolved(state: State, update: Json, who: str) -> Result:
    """Another window answered a question."""
    how = received.line(_hermes(update).get("optionId") or _hermes(update).get("outcome"))
    state, pieces = _flush(state)
    return state, (*pieces, Note(f"{who}: {how.replace('_', ' ') or 'no answer'}"))


def _card(card: Card, update: Json) -> Card:
    meta, raw = received.members(update.get("_meta")), received.members(update.get("rawOutput"))
    more = received.members(meta.get("terminal_output")).get("data")
    exit_code = received.members(meta.get("terminal_exit")).get("exit_code", raw.get("exitCode"))
    return Card(
        call_id=card.call_id,
        title=received.line(update.get("title")) or card.title,
        kind=str(update.get("kind") or card.kind),
        status=STATUSES.get(str(update.get("status")), card.status),
        content=received.content(update["content"]) if "content" in update else card.content,
        output=(card.output + more)[-OUTPUT_CHARS:] if isinstance(more, str) else card.output,
        outcome=received.line(raw.get("outcome")) or card.outcome,
        exit_code=exit_code if isinstance(exit_code, int) else card.exit_code,
    )


def _plan(state: State, update: Json) -> Result:
    state, pieces = _flush(state)
    plan = Plan(received.steps(update.get("entries")))
    return replace(state, plan=plan, plan_told=state.plan_told and plan == state.plan), pieces


def _hermes(update: Json) -> Json:
    """What the server says beyond the protocol."""
    return received.members(received.members(update.get("_meta")).get("hermes"))


# --- the session ---------------------------------------------------------------------------------


def _info(state: State, update: Json) -> Result:
    title = received.line(update.get("title"))
    state = replace(state, title=title or state.title)
    # The server tells the time of the last activity when a turn has ended, and only then.
    if "updatedAt" not in update or state.loading:
        return state, ()
    stopping, how = state.stopping, _hermes(update)
    state, pieces = _turn_over(state)
    end = Ended(
        received.line(how.get("stopReason")),
        received.text(how.get("error")),
        "" if stopping else received.line(how.get("cancelledBy")),
    )
    if not end.reason:
        return state, pieces
    return replace(state, end_told=True), pieces if _is_plain(end) else (*pieces, end)


def _notice(state: State, update: Json) -> Result:
    title, more = received.line(update.get("title")), received.text(update.get("description"))
    severity = update.get("severity")
    level = "error" if severity == "error" else "warning" if severity == "warning" else "info"
    state, pieces = _flush(state)
    return state, (*pieces, Note(f"{title}: {more}" if more else title, level))


def _compaction(state: State, update: Json) -> Result:
    state, pieces = _flush(state)
    match update.get("status"):
        case "in_progress":
            note = Note("The conversation is being summarised to make room.")
        case "completed":
            note = Note("What was said so far was summarised for the model.")
        case _:
            why = received.text(update.get("error")) or "It was not finished."
            note = Note(f"The conversation was not summarised. {why}", "warning")
    return state, (*pieces, note)


def _setting(state: State, update: Json) -> State:
    match update.get("sessionUpdate"):
        case "config_option_update":
            return replace(state, options=received.options(update.get("configOptions")) or state.options)
        case "current_mode_update":
            mode = received.line(update.get("currentModeId"))
            changed = tuple(
                replace(item, current=mode) if item.category == "mode" else item for item in state.options
            )
            return replace(state, options=changed)
        case "available_commands_update":
            return replace(state, commands=received.commands(update.get("availableCommands")))
        case "usage_update":
            return replace(state, usage=received.usage(update) or state.usage)
        case _:
            return state
