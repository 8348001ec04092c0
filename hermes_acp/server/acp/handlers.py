"""The methods of ACP v1, one short handler each; the tables at the end name every one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar, cast

from pydantic import ValidationError

from hermes_acp import __version__
from hermes_acp.agent import ids
from hermes_acp.agent.inbox import TooMany
from hermes_acp.agent.opening import BadPlace, Opening
from hermes_acp.agent.options import BadOption
from hermes_acp.agent.session import Session
from hermes_acp.agent.sessions import UnknownSession
from hermes_acp.llm.base import LoginNeeded, ModelError
from hermes_acp.ops import Cancel, Prompt, Steer
from hermes_acp.server import messages
from hermes_acp.server.acp import convert, schema
from hermes_acp.server.acp.client import AcpClient, Watch
from hermes_acp.server.acp.render.options import config_option, modes
from hermes_acp.server.dispatch import JsonRpcError, Result, Success
from hermes_acp.server.messages import Json
from hermes_acp.server.rpc import DEFERRED, Call, Deferred, Method
from hermes_acp.storage.claims import SessionInUse
from hermes_acp.storage.database import StorageError
from hermes_acp.storage.sessions import BadCursor, SessionRow

PROTOCOL_VERSION = 1
AGENT_METHOD = "provider-key"
TERMINAL_METHOD = "setup"

P = TypeVar("P", bound=schema.Wire)
Handler = Callable[[AcpClient, Call, P], Awaitable[object]]


def serve(params: type[P], handler: Handler[P], *, first: bool = False) -> Method:
    """A method: checks the parameters, runs the handler, and turns expected failures into errors."""

    async def method(call: Call, /, **raw: object) -> Result:
        client = cast("AcpClient", call.service)
        if not (client.initialized or first):
            raise JsonRpcError(messages.INVALID_REQUEST, "Call initialize first.")
        try:
            return Success(await handler(client, call, params.model_validate(raw)))
        except ValidationError as error:
            raise JsonRpcError(messages.INVALID_PARAMS, *_problems(error)) from error
        except (UnknownSession, NotOpen) as error:
            raise JsonRpcError(messages.NOT_FOUND, str(error)) from error
        except LoginNeeded as error:
            raise JsonRpcError(messages.AUTH_REQUIRED, str(error)) from error
        except (BadPlace, BadOption, BadCursor) as error:
            raise JsonRpcError(messages.INVALID_PARAMS, str(error)) from error
        except (StorageError, SessionInUse, TooMany, ModelError) as error:
            raise JsonRpcError(messages.INTERNAL_ERROR, str(error)) from error

    return method


class NotOpen(Exception):
    """The client names a session that it has not opened."""


# --- connection ----------------------------------------------------------------------------------


async def initialize(client: AcpClient, _call: Call, params: schema.Initialize) -> Json:
    """Agree on version 1 and say what we can do; needs no key, no home and no model."""
    client.introduce(params)
    return {
        "protocolVersion": PROTOCOL_VERSION,
        "agentCapabilities": {
            "loadSession": True,
            "promptCapabilities": {"image": True, "audio": True, "embeddedContext": True},
            "mcpCapabilities": {"http": True, "sse": True},
            "sessionCapabilities": {
                "list": {},
                "resume": {},
                "close": {},
                "delete": {},
                "additionalDirectories": {},
            },
            "auth": {"logout": {}},
        },
        "authMethods": _auth_methods(terminal=client.capabilities.auth.terminal),
        "agentInfo": {"name": "hermes-editor", "title": "Hermes", "version": __version__},
        "_meta": {"steering": {"supported": True}},
    }


async def authenticate(client: AcpClient, _call: Call, params: schema.Authenticate) -> Json:
    """Read the configuration again and check that a model is there."""
    if params.method_id != AGENT_METHOD:
        known = f"There is no method {params.method_id!r} to authenticate with: use {AGENT_METHOD!r}."
        raise JsonRpcError(messages.INVALID_PARAMS, known)
    await client.origin.models.login()
    return {}


async def logout(client: AcpClient, _call: Call, _params: schema.Empty) -> Json:
    """Use no provider key until the next `authenticate`."""
    await client.origin.models.logout()
    return {}


# --- sessions ------------------------------------------------------------------------------------


async def new_session(client: AcpClient, call: Call, params: schema.NewSession) -> Deferred:
    """Make a session; its first updates follow the answer."""
    session = await client.sessions.create(_opening(client, params))
    watch = client.watch(session)
    call.answer({"sessionId": session.session_id, **_state(session)})
    client.start(watch)
    return DEFERRED


async def load_session(client: AcpClient, call: Call, params: schema.LoadSession) -> Deferred:
    """Open a session and send all of it before the answer."""
    session = await client.sessions.open(params.session_id, _opening(client, params))
    watch = client.watch(session)
    try:
        await client.replay(watch)
    except BaseException:
        # A load that was withdrawn or failed halfway opened nothing.
        client.unwatch(session.session_id)
        raise
    call.answer(_state(session))
    client.start(watch)
    return DEFERRED


async def resume_session(client: AcpClient, call: Call, params: schema.ResumeSession) -> Deferred:
    """Open a session without sending what was said."""
    session = await client.sessions.open(params.session_id, _opening(client, params))
    watch = client.watch(session)
    try:
        running = await client.skip(watch)
    except BaseException:
        client.unwatch(session.session_id)
        raise
    call.answer(_state(session))
    client.start(watch, running)
    return DEFERRED


async def list_sessions(client: AcpClient, _call: Call, params: schema.ListSessions) -> Json:
    """A page of sessions, newest first."""
    page = await client.sessions.page(params.cwd, params.cursor)
    listing: Json = {
        "sessions": [_session_info(row, client.sessions.get(row.session_id)) for row in page.rows]
    }
    return listing if page.next_cursor is None else listing | {"nextCursor": page.next_cursor}


async def close_session(client: AcpClient, _call: Call, params: schema.OneSession) -> Json:
    """Let go of the session; the last window cancels what runs. It can be loaded again."""
    await client.leave(_watch(client, params.session_id))
    return {}


async def delete_session(client: AcpClient, _call: Call, params: schema.OneSession) -> Json:
    """Forget the session, for all windows; one that does not exist is forgotten already."""
    watch = client.watched(params.session_id)
    await client.sessions.delete(params.session_id, client.label)
    if watch is not None:
        client.finish(watch)
    return {}


# --- one session ---------------------------------------------------------------------------------


async def prompt(client: AcpClient, call: Call, params: schema.PromptSession) -> Deferred:
    """Queue a message; the answer comes when its turn has ended."""
    watch = _watch(client, params.session_id)
    client.prompt(watch, ids.turn(), convert.blocks(params.prompt), call.request_id)
    return DEFERRED


async def cancel(client: AcpClient, _call: Call, params: schema.OneSession) -> None:
    """Stop the running turn and everything queued."""
    watch = client.watched(params.session_id)
    if watch is not None:
        watch.session.submit(Cancel(client=client.label))


async def set_mode(client: AcpClient, _call: Call, params: schema.SetMode) -> Json:
    """Set the mode, from the next effect on."""
    await _watch(client, params.session_id).session.set_option("mode", params.mode_id)
    return {}


async def set_config_option(client: AcpClient, _call: Call, params: schema.SetConfigOption) -> Json:
    """Set one option and answer with all of them."""
    session = _watch(client, params.session_id).session
    if isinstance(params.value, bool):
        raise BadOption(f"The option {params.config_id!r} takes one of its listed values, not a boolean.")
    await session.set_option(params.config_id, params.value)
    return {"configOptions": [config_option(item) for item in session.options()]}


async def steer(client: AcpClient, _call: Call, params: schema.SteerSession) -> Json:
    """Give the running turn a message; without one, start a turn or say that a prompt is needed."""
    session = _watch(client, params.session_id).session
    content = convert.blocks(params.prompt)
    if session.submit(Steer(content, client.label)):
        return {"outcome": "injected"}
    if params.meta.steering.idle_behavior == "promptRequired":
        return {"outcome": "promptRequired", "reason": "noRunningTurn"}
    session.submit(Prompt(ids.turn(), content, client.label))
    return {"outcome": "startedNewTurn"}


# --- details -------------------------------------------------------------------------------------


def _auth_methods(*, terminal: bool) -> list[Json]:
    description = (
        "Uses the provider key from the environment (ANTHROPIC_API_KEY, OPENAI_API_KEY, …), "
        "from config.toml, or a local model server"
    )
    methods: list[Json] = [{"id": AGENT_METHOD, "name": "Provider key", "description": description}]
    if terminal:
        methods.append(
            {
                "type": "terminal",
                "id": TERMINAL_METHOD,
                "name": "Set up in the terminal",
                "description": "Choose a model and enter its key",
                "args": ["--setup"],
            }
        )
    return methods


def _opening(
    client: AcpClient, params: schema.NewSession | schema.LoadSession | schema.ResumeSession
) -> Opening:
    return Opening(
        origin=client.origin,
        cwd=params.cwd,
        additional_directories=tuple(params.additional_directories),
        mcp_servers=convert.mcp_servers(params.mcp_servers),
    )


def _state(session: Session) -> Json:
    options = session.options()
    state: Json = {"modes": modes(options), "configOptions": [config_option(item) for item in options]}
    if session.place.cwd != session.row.real_cwd:
        state["_meta"] = {"hermes": {"cwd": session.place.cwd}}
    return state


def _session_info(row: SessionRow, session: Session | None) -> Json:
    info: Json = {
        "sessionId": row.session_id,
        "cwd": row.cwd,
        "updatedAt": datetime.fromtimestamp(row.updated_at, UTC).isoformat(timespec="milliseconds"),
    }
    if row.title is not None:
        info["title"] = row.title
    if row.additional_directories:
        info["additionalDirectories"] = list(row.additional_directories)
    if session is not None and session.busy:
        info["_meta"] = {"hermes": {"running": True}}
    return info


def _watch(client: AcpClient, session_id: str) -> Watch:
    watch = client.watched(session_id)
    if watch is not None:
        return watch
    if reason := client.why_ended(session_id):
        raise NotOpen(f"{reason} ({session_id})")
    raise NotOpen(f"No session {session_id!r} is open on this connection: load or resume it first.")


def _problems(error: ValidationError) -> tuple[str, object]:
    problems = [
        {"path": ".".join(map(str, item["loc"])), "problem": item["msg"]}
        for item in error.errors(include_url=False, include_input=False)
    ]
    first = problems[0]
    return f"Invalid params: {first['path'] or 'params'}: {first['problem']}.", problems


METHODS: dict[str, Method] = {
    "initialize": serve(schema.Initialize, initialize, first=True),
    "authenticate": serve(schema.Authenticate, authenticate),
    "logout": serve(schema.Empty, logout),
    "session/new": serve(schema.NewSession, new_session),
    "session/load": serve(schema.LoadSession, load_session),
    "session/resume": serve(schema.ResumeSession, resume_session),
    "session/list": serve(schema.ListSessions, list_sessions),
    "session/close": serve(schema.OneSession, close_session),
    "session/delete": serve(schema.OneSession, delete_session),
    "session/prompt": serve(schema.PromptSession, prompt),
    "session/set_mode": serve(schema.SetMode, set_mode),
    "session/set_config_option": serve(schema.SetConfigOption, set_config_option),
    "_session/steering": serve(schema.SteerSession, steer),
}

NOTIFICATIONS: dict[str, Method] = {
    "session/cancel": serve(schema.OneSession, cancel),
}
