"""The parameters of ACP v1 methods as lean models: what we need is checked, the rest is let through.

Members that the specification marks as "default on error" fall back to their default instead of
failing the call. The official schema checks these models in the tests.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Literal, Self, TypeAlias, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticUseDefault, ValidationError


def _default_on_error(value: object, handler: ValidatorFunctionWrapHandler) -> object:
    try:
        return handler(value)
    except ValidationError:
        raise PydanticUseDefault from None


def _absolute(value: str) -> str:
    if not PurePath(value).is_absolute():
        raise ValueError("must be an absolute path")
    if "\0" in value:
        raise ValueError("must not contain a NUL character")
    return value


def _none_is_empty(value: object) -> object:
    return [] if value is None else value


Lenient = WrapValidator(_default_on_error)
AbsolutePath = Annotated[str, AfterValidator(_absolute)]
NullIsEmpty = BeforeValidator(_none_is_empty)
Directories = Annotated[list[AbsolutePath], NullIsEmpty]


class Wire(BaseModel):
    """Base: camelCase on the wire, unknown members ignored.

    A default that is a model is made by `model_construct`, which checks nothing: the others would have
    their checks built when this module is imported.
    """

    model_config = ConfigDict(
        alias_generator=to_camel, extra="ignore", frozen=True, strict=True, defer_build=True
    )


# --- content -------------------------------------------------------------------------------------


class TextContent(Wire):
    """Text."""

    type: Literal["text"]
    text: str


class ImageContent(Wire):
    """An image as base64."""

    type: Literal["image"]
    data: str
    mime_type: str
    uri: Annotated[str | None, Lenient] = None


class AudioContent(Wire):
    """A sound as base64."""

    type: Literal["audio"]
    data: str
    mime_type: str


class ResourceLink(Wire):
    """A reference that the agent can follow."""

    type: Literal["resource_link"]
    uri: str
    name: str
    title: Annotated[str | None, Lenient] = None
    description: Annotated[str | None, Lenient] = None
    mime_type: Annotated[str | None, Lenient] = None
    size: Annotated[int | None, Lenient] = None


class ResourceContents(Wire):
    """What a resource holds: one of `text` and `blob`."""

    uri: str
    text: str | None = None
    blob: str | None = None
    mime_type: Annotated[str | None, Lenient] = None

    @model_validator(mode="after")
    def _has_contents(self) -> Self:
        if self.text is None and self.blob is None:
            raise ValueError("a resource needs text or blob")
        return self


class EmbeddedResource(Wire):
    """A resource with its contents."""

    type: Literal["resource"]
    resource: ResourceContents


ContentBlock: TypeAlias = Annotated[
    TextContent | ImageContent | AudioContent | ResourceLink | EmbeddedResource, Discriminator("type")
]


# --- initialize ----------------------------------------------------------------------------------


class FileSystem(Wire):
    """Which `fs/*` methods the client serves."""

    read_text_file: Annotated[bool, Lenient] = False
    write_text_file: Annotated[bool, Lenient] = False


class ConfigOptionCapabilities(Wire):
    """Which kinds of options the client shows besides selects."""

    boolean: Annotated[dict[str, object] | None, Lenient] = None


class SessionCapabilities(Wire):
    """Session updates that need the client's consent."""

    compaction: Annotated[dict[str, object] | None, Lenient] = None
    config_options: Annotated[ConfigOptionCapabilities | None, Lenient] = None
    notices: Annotated[dict[str, object] | None, Lenient] = None


class AuthCapabilities(Wire):
    """Whether the client can start us in a terminal."""

    terminal: Annotated[bool, Lenient] = False


class ElicitationCapabilities(Wire):
    """Which elicitations the client shows."""

    form: Annotated[dict[str, object] | None, Lenient] = None
    url: Annotated[dict[str, object] | None, Lenient] = None


class ClientCapabilities(Wire):
    """What the client can do for us."""

    fs: Annotated[FileSystem, Lenient] = Field(default_factory=FileSystem.model_construct)
    terminal: Annotated[bool, Lenient] = False
    session: Annotated[SessionCapabilities | None, Lenient] = None
    auth: Annotated[AuthCapabilities, Lenient] = Field(default_factory=AuthCapabilities.model_construct)
    elicitation: Annotated[ElicitationCapabilities | None, Lenient] = None
    meta: Annotated[dict[str, object], Lenient] = Field(default_factory=dict, alias="_meta")

    @property
    def notices(self) -> bool:
        """Whether `notice` updates may be sent."""
        return self.session is not None and self.session.notices is not None

    @property
    def compaction(self) -> bool:
        """Whether `compaction_update` may be sent."""
        return self.session is not None and self.session.compaction is not None

    @property
    def forms(self) -> bool:
        """Whether form elicitations may be sent."""
        return self.elicitation is not None and self.elicitation.form is not None

    @property
    def terminal_output(self) -> bool:
        """Whether command output may be sent through `_meta.terminal_output`."""
        return self.meta.get("terminal_output") is True


class Implementation(Wire):
    """Who the client is."""

    name: str
    version: Annotated[str, Lenient] = ""
    title: Annotated[str | None, Lenient] = None


class Initialize(Wire):
    """`initialize`."""

    protocol_version: Annotated[int, Field(ge=0, le=65535)]
    client_capabilities: Annotated[ClientCapabilities, Lenient] = Field(
        default_factory=ClientCapabilities.model_construct
    )
    client_info: Annotated[Implementation | None, Lenient] = None


class Authenticate(Wire):
    """`authenticate`."""

    method_id: str


class Empty(Wire):
    """Methods without parameters."""


# --- sessions ------------------------------------------------------------------------------------


class Pair(Wire):
    """A name and a value: an environment variable or a header."""

    name: str
    value: str


class StdioServer(Wire):
    """An MCP server that we start."""

    name: str
    command: str
    args: Annotated[list[str], NullIsEmpty]
    env: Annotated[list[Pair], NullIsEmpty]


class RemoteServer(Wire):
    """An MCP server that we connect to."""

    type: Literal["http", "sse"]
    name: str
    url: str
    headers: list[Pair]


def _transport(value: object) -> str:
    if not isinstance(value, dict):
        return value.type if isinstance(value, RemoteServer) else "stdio"
    kind = cast("dict[str, object]", value).get("type", "stdio")
    return str(kind)


McpServer: TypeAlias = Annotated[
    Annotated[StdioServer, Tag("stdio")]
    | Annotated[RemoteServer, Tag("http")]
    | Annotated[RemoteServer, Tag("sse")],
    Discriminator(_transport),
]


class NewSession(Wire):
    """`session/new`."""

    cwd: AbsolutePath
    mcp_servers: Annotated[list[McpServer], NullIsEmpty]
    additional_directories: Directories = []


class LoadSession(Wire):
    """`session/load`."""

    session_id: str
    cwd: AbsolutePath
    mcp_servers: Annotated[list[McpServer], NullIsEmpty]
    additional_directories: Directories = []


class ResumeSession(Wire):
    """`session/resume`: like load, without the replay; the servers may be left out."""

    session_id: str
    cwd: AbsolutePath
    mcp_servers: Annotated[list[McpServer], NullIsEmpty] = []
    additional_directories: Directories = []


class ListSessions(Wire):
    """`session/list`."""

    cwd: AbsolutePath | None = None
    cursor: str | None = None


class OneSession(Wire):
    """Methods that name a session and nothing else."""

    session_id: str


class PromptSession(Wire):
    """`session/prompt`."""

    session_id: str
    prompt: Annotated[list[ContentBlock], Field(min_length=1)]


class SetMode(Wire):
    """`session/set_mode`."""

    session_id: str
    mode_id: str


class SetConfigOption(Wire):
    """`session/set_config_option`."""

    session_id: str
    config_id: str
    value: str | bool


class SteeringMeta(Wire):
    """`_meta.steering` of a steering request."""

    idle_behavior: Annotated[str | None, Lenient] = None


class SteerMeta(Wire):
    """`_meta` of a steering request."""

    steering: Annotated[SteeringMeta, Lenient] = Field(default_factory=SteeringMeta.model_construct)


class SteerSession(Wire):
    """`_session/steering`."""

    session_id: str
    prompt: Annotated[list[ContentBlock], Field(min_length=1)]
    meta: Annotated[SteerMeta, Lenient] = Field(default_factory=SteerMeta.model_construct, alias="_meta")


# --- answers of the client -----------------------------------------------------------------------


class PermissionOutcome(Wire):
    """The user's choice, or that the turn was cancelled."""

    outcome: str
    option_id: str | None = None


class PermissionAnswer(Wire):
    """The answer to `session/request_permission`."""

    outcome: PermissionOutcome


class ElicitationAnswer(Wire):
    """The answer to `elicitation/create`."""

    action: str
    content: Annotated[dict[str, object] | None, Lenient] = None


class FileText(Wire):
    """The answer to `fs/read_text_file`."""

    content: str


class TerminalCreated(Wire):
    """The answer to `terminal/create`."""

    terminal_id: str


class TerminalExit(Wire):
    """The answer to `terminal/wait_for_exit`."""

    exit_code: Annotated[int | None, Lenient] = None
    signal: Annotated[str | None, Lenient] = None


class TerminalOutput(Wire):
    """The answer to `terminal/output`."""

    output: str
    truncated: Annotated[bool, Lenient] = False
    exit_status: Annotated[TerminalExit | None, Lenient] = None
