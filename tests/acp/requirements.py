"""What ACP v1 and our design demand, as rows that tests name; prints the coverage table of docs/acp.md."""

# ruff: noqa: E501 (a demand is one sentence on one line)

from __future__ import annotations

import ast
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parents[1]
SKIPPED = ("node_modules",)
MARK = "requirement"


@dataclass(frozen=True, slots=True)
class Row:
    """One demand: `source` is the page of the specification, or the section of the design."""

    id: str
    sentence: str
    source: str


def _area(source: str, **rows: str) -> list[Row]:
    return [
        Row(name.replace("__", ".").replace("_", "-"), sentence, source) for name, sentence in rows.items()
    ]


ROWS: tuple[Row, ...] = (
    *_area(
        "initialization",
        initialize__version="The answer names version 1, whatever version was asked for; what is no version is refused",
        initialize__capabilities="Everything the agent can do is advertised, as objects where the schema says objects",
        initialize__agent_info="The agent says its name, title and version",
        initialize__lenient="Capabilities that are missing, unknown or of a wrong type do not stop the handshake",
    ),
    *_area(
        "DESIGN 5",
        initialize__without_a_key="`initialize` is answered with no key, no model and an empty home",
        initialize__first="Before `initialize` every other request is refused and the connection lives",
    ),
    *_area(
        "authentication",
        auth__methods="A method of the agent is always offered; the terminal one only to clients that can use it",
        auth__required="Without a model, opening a session fails with -32000 and says what to set",
        auth__authenticate="`authenticate` succeeds when a model is there; an unknown method is refused",
        auth__logout="After `logout`, sessions and prompts need a login, and work again after one",
    ),
    *_area(
        "session-setup",
        session__new="`session/new` answers with id, modes and options, and sessions do not mix",
        session__cwd="The session's absolute, existing folder decides the project; anything else is refused",
        session__additional_directories="Additional directories join the workspace; unusable ones are refused",
        session__load="`session/load` replays everything before it answers, then the session goes on",
        session__load_unknown="Loading or resuming an unknown session fails with -32002",
        session__resume="`session/resume` opens a session and replays nothing",
        session__close="`session/close` cancels what runs and frees the session, which can be loaded again",
        mcp__stdio="Tools of a stdio MCP server are offered to the model of that session alone",
        mcp__remote="HTTP and SSE servers are accepted, and one that is unreachable stops nothing",
        mcp__failures="A server that does not start is reported and the session works",
        mcp__refused="A server that is described wrongly is refused",
    ),
    *_area(
        "session-list",
        session__list="Sessions are listed newest first, by folder, in pages, with title and time",
    ),
    *_area("session-delete", session__delete="A deleted session is gone; deleting it again changes nothing"),
    *_area(
        "DESIGN 5",
        session__survives="A session outlives its process, empty or killed in the middle of a turn",
        session__in_use="A session that another process has open says so",
    ),
    *_area(
        "content",
        prompt__content="Text, images, audio, links and embedded resources are taken and replayed as they came",
        prompt__text_exact="Text arrives exactly, whatever characters it holds",
    ),
    *_area(
        "prompt-turn",
        prompt__unknown_session="A prompt to a session that is not open fails with -32002",
        prompt__queue="Prompts of one session are answered in their order, within a bound",
        stop__end_turn="An answer without tool calls ends the turn with `end_turn`",
        stop__max_tokens="An answer cut at the token limit ends it with `max_tokens`",
        stop__max_turn_requests="Too many model requests, or the same call over and over, end it with `max_turn_requests`",
        stop__refusal="A refusal of the model ends it with `refusal`, and the next prompt works",
        stop__cancelled="A cancelled turn ends with `cancelled`",
        update__user_message="`user_message_chunk`: messages of the user are replayed",
        update__agent_message="`agent_message_chunk`: the answer comes in chunks of one message",
        update__agent_thought="`agent_thought_chunk`: reasoning comes apart from the answer",
        update__usage="`usage_update`: tokens in the context, its size, and the cost so far",
        update__session_info="`session_info_update`: a title from the first prompt, and the time of the last turn",
        update__notice="`notice`: only for clients that show notices",
        update__compaction="`compaction_update` and `compaction_summary_chunk`: begin, summary and end, only for clients that show them",
    ),
    *_area("agent-plan", update__plan="`plan`: every update holds the whole plan"),
    *_area(
        "tool-calls",
        update__tool_call="`tool_call`: every call is announced with title, kind and input",
        update__tool_call_update="`tool_call_update`: what changes is told under the call's id",
        tool_call__life="A call goes from pending over in_progress to completed",
        tool_call__failure="A call that cannot work fails with a reason, and the turn goes on",
        tool_call__ids="Every call has an id of its own, even when the model repeats one",
        tool_call__diff="Edits are diffs with absolute path and the right old text",
        tool_call__output="Output of a command is shown while it runs",
        tool_call__exit="A failed command shows its output and exit code",
        permission__request="A permission request names its call, shows what will happen and offers all four answers",
        permission__pending="A call waits for its permission as pending",
        permission__reject="A rejected call fails, does nothing, and the turn goes on",
        permission__always="`always` answers are remembered for the project",
        permission__unanswered="An unusable answer, or a client that cannot ask, is a no",
    ),
    *_area(
        "session-modes",
        modes__advertised="A session says which modes there are",
        modes__set="`session/set_mode` sets the mode",
        modes__refused="A mode that does not exist, or one of a session that is not open, is refused",
        modes__effect="The mode decides what is asked, allowed and refused, from the next effect on",
        update__current_mode="`current_mode_update`: a change of the mode is told",
    ),
    *_area(
        "session-config-options",
        config__advertised="A session says its options with category, value and choices",
        config__set="`session/set_config_option` sets any listed value and answers with the whole list",
        config__refused="An option or value that does not exist is refused",
        config__kept="Options are kept with the session",
        update__config_option="`config_option_update`: a change is told with the whole list",
    ),
    *_area(
        "DESIGN 5",
        windows__together="Connections that hold one session see each other's prompts, text, steps and ends, in order and once",
        windows__permission="A permission is asked of all; the first answer counts, the others are withdrawn and told who answered",
        windows__cancel="Any window may cancel; the prompt of the other one ends as cancelled",
        windows__options="A change of options by one window is told to all",
        windows__killed="Killing one window changes nothing for the others, and its turn goes on",
        windows__server_killed="After the server was killed, every window loads all that was acknowledged and the turn's honest end",
        windows__close="Closing in one window ends its own prompts; the last one frees the session",
        windows__delete="Deleting in one window ends the session in all; the next call there fails with -32002",
    ),
    *_area("DESIGN 5", modes__in_step="Modes and options change together, whichever was set"),
    *_area(
        "slash-commands",
        commands__advertised="`available_commands_update`: the commands with their input, right after the session opened",
        commands__run="A command is answered by the agent itself; what only looks like one goes to the model",
    ),
    *_area(
        "cancellation",
        cancel_request__prompt="`$/cancel_request` ends a running or waiting prompt, alone",
        cancel_request__other_methods="`$/cancel_request` ends any other call with -32800",
        cancel_request__unknown="Cancelling an unknown request is met with silence",
        cancel__withdraws="A question that is no longer wanted is withdrawn with `$/cancel_request`",
    ),
    *_area(
        "DESIGN 5",
        cancel__streaming="Cancel while the model streams, is silent or writes a call",
        cancel__tool="Cancel while a command runs: the command and its children are dead",
        cancel__permission="Cancel while a permission is open; a late answer does nothing",
        cancel__question="Cancel while a question is open",
        cancel__compaction="Cancel while the context is compacted",
        cancel__queued="Cancel ends the waiting prompts too, without a trace",
        cancel__idle="Cancel where nothing runs, twice, or for nobody changes nothing",
        cancel__other_sessions="Cancel stops only the session it names",
    ),
    *_area(
        "file-system",
        fs__read="Files are read through the editor, unsaved text included",
        fs__write="Files are written through the editor",
        fs__only_advertised="`fs/*` methods that were not advertised are not called",
        fs__errors="An editor that fails or is slow never breaks the turn",
    ),
    *_area(
        "terminals",
        terminal__run="Commands run in the client's terminal and are shown there",
        terminal__release="Every terminal is released, once",
        terminal__kill="Cancel kills and releases the terminal",
        terminal__errors="A terminal that fails is a failed call and not more",
        terminal__only_advertised="`terminal/*` methods that were not advertised are not called",
    ),
    *_area(
        "elicitation",
        elicitation__form="A question is a form for free text, a choice or several choices",
        elicitation__no_answer="Declined, cancelled and unusable answers do not stop the turn",
        elicitation__only_advertised="Without forms a choice is a permission request, and other questions go unanswered",
    ),
    *_area(
        "extensibility",
        extensions__meta="`_meta` and unknown members are accepted everywhere",
        extensions__steering="`_session/steering` joins the running turn, or says that there is none",
        extensions__unknown="Unknown `_` requests fail with -32601, unknown `_` notifications are silent",
    ),
    *_area(
        "schema",
        errors__unstable="Methods that are not stable are not served",
        messages__schema="Every line the agent writes is valid, with no member that the schema does not name",
        messages__answered_once="Every request is answered once, under its own id",
        tool_call__closed="No tool call stays open after its turn, and none changes after its end",
        updates__after_opening="No update of a session precedes the answer that opened it",
        updates__before_the_end="No update of a turn follows its answer",
    ),
    *_area(
        "DESIGN 5",
        errors__method="An unknown request fails with -32601",
        errors__notification="An unknown notification is met with silence",
        errors__response="An answer to nothing is met with silence",
        errors__params="Parameters of a wrong type or shape fail with -32602 and name the member",
        errors__lenient="`params: null` and extra members are accepted",
        errors__model="A failing model is an error of the prompt, or asked again, and the session goes on",
    ),
    *_area(
        "transports",
        transport__lines="One message a line; CRLF, blank lines, a byte order mark and any cutting are accepted",
        transport__utf_8="No text, however odd, breaks the framing; half a surrogate pair is replaced",
        transport__stdout="Only protocol lines reach standard output, whatever tools and children print",
    ),
    *_area(
        "DESIGN 5",
        transport__bad_json="Bad JSON, bad UTF-8, batches and bare values: an error, and the connection lives",
        transport__ids="Ids of 0, big numbers, strings and null come back as they were; one in use is refused",
        transport__long_lines="An over-long line is dropped with an error and in bounded memory",
        transport__pipelining="Requests sent before any answer are served in order",
        transport__end="The end of the input, a stuck reader or a signal ends everything within a second",
        transport__protocol="The first byte decides the protocol where none was named",
        transport__fuzz="Ten thousand damaged frames: every readable request is answered, nothing crashes",
        transport__golden="Whole conversations are line by line what they were",
    ),
)


def coverage(folder: Path = TESTS) -> dict[str, list[str]]:
    """The tests that name each row, found in the source without running it."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for file in sorted(folder.rglob("test_*.py")):
        if any(part in SKIPPED for part in file.parts):
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for row in _marks(node):
                    found[row].append(f"{file.relative_to(folder).as_posix()}::{node.name}")
    return dict(found)


def _marks(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """The rows in the decorators `requirement("…")` and `pytest.mark.requirement("…")`."""
    rows: list[str] = []
    for call in node.decorator_list:
        if isinstance(call, ast.Call) and ast.unparse(call.func).split(".")[-1] == MARK:
            rows += [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
    return rows


def table() -> str:
    """The coverage table, in Markdown."""
    tests = coverage()
    lines = ["| row | demand | source | tests |", "|---|---|---|---|"]
    for row in ROWS:
        files = sorted({name.split("::")[0] for name in tests.get(row.id, [])})
        places = ", ".join(f"`{file.removeprefix('acp/')}`" for file in files) or "none"
        lines.append(f"| `{row.id}` | {row.sentence} | {row.source} | {places} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
