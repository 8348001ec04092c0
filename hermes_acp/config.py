"""Settings and folders: the only module that reads the environment.

Order: environment (`HERMES_EDITOR_…`), then `config.toml` in the configuration folder, then the
defaults below.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, cast
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from hermes_acp import folders
from hermes_acp.records import record

PREFIX = folders.PREFIX

SECRET_ENDINGS = ("_API_KEY", "_TOKEN", "_SECRET", "_SECRET_KEY", "_ACCESS_KEY", "_CREDENTIALS")
"""Variables with these endings are not handed to the commands that the agent runs."""

PER_WINDOW = frozenset(
    {"COLUMNS", "LINES", "OLDPWD", "PWD", "SHLVL", "TERM", "TERM_SESSION_ID", "WINDOWID", "_"}
)
"""Variables that differ between windows and mean nothing to a model."""

SCRIPTED = "scripted/"
"""Models with this prefix play a script file."""

FILE_ONLY = frozenset({"keys", "memory_services"})
"""Settings that no variable sets, since variables may come from the folder in which a window was opened."""

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
"""What is at these hosts is on this machine."""

OWN = frozenset({"PYDANTIC_DISABLE_PLUGINS"})
"""Variables that we set for our own libraries."""


class ConfigError(Exception):
    """The configuration cannot be used; `str()` names the file or variable and the problem."""


@record
class Paths:
    """Our four folders; none of them is created here."""

    config: Path
    data: Path
    state: Path
    runtime: Path

    @property
    def config_file(self) -> Path:
        """The user's configuration."""
        return self.config / "config.toml"

    @property
    def database(self) -> Path:
        """The sessions with their journals, and the rules."""
        return self.data / "sessions.db"

    @property
    def claims(self) -> Path:
        """The locks of sessions that are open somewhere."""
        return self.data / "claims"

    @property
    def projects(self) -> Path:
        """A folder for each project, with what is kept about it."""
        return self.data / "projects"


class MemoryService(BaseModel):
    """A memory service outside of this program, which is told what is said in sessions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["hindsight"]
    name: str = Field(default="", pattern=r"^(?:[a-z][a-z0-9_]{0,30})?$")
    url: str = Field(pattern=r"^https?://[^/@\s]+(?:/[^@\s]*)?$")

    @property
    def label(self) -> str:
        """What it is called: its name, or its kind."""
        return self.name or self.kind

    @field_validator("url")
    @classmethod
    def _leads_somewhere(cls, url: str) -> str:
        # Raises `ValueError` for a host or a port that is none.
        _ = urlsplit(url).port
        return url

    @property
    def host(self) -> str:
        """Where it is."""
        return urlsplit(self.url).hostname or ""


class Settings(BaseModel):
    """What the user can set, with defaults."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    model: str = ""
    model_base_url: str = ""
    models: tuple[str, ...] = ()
    memory_model: str = ""
    """A cheap model for what a turn has taught and long results of recall; empty: words and extracts."""
    effort: Literal["default", "none", "low", "medium", "high"] = "default"
    mode: Literal["ask", "plan", "accept_edits", "auto", "full"] = "ask"
    sandbox_network: bool = False
    """Whether commands in the sandbox have the machine's network, whole."""
    memory_services: tuple[MemoryService, ...] = Field(default=(), max_length=4)
    """Services that are told what is said, and asked what they remember of it; only in the file."""
    keys: dict[str, str] = Field(default_factory=dict)
    server_idle: float = Field(default=1_800.0, ge=1.0)
    """Seconds without windows and turns after which the shared server ends."""
    max_steps: int = Field(default=100, ge=1, le=10_000)
    max_line_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)
    command_timeout: float = Field(default=120.0, gt=0)
    log_level: Literal["debug", "info", "warning", "error"] = "warning"
    allow_real_models: bool = True

    @field_validator("memory_services")
    @classmethod
    def _told_apart(cls, services: tuple[MemoryService, ...]) -> tuple[MemoryService, ...]:
        if len({service.label for service in services}) < len(services):
            raise ValueError("two services have the same name: give each a `name` of its own")
        return services

    @field_validator("models", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            tuple(part.strip() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )


def environment() -> Mapping[str, str]:
    """The process environment, for those who are handed it by the composition root."""
    return os.environ


def paths(env: Mapping[str, str]) -> Paths:
    """Where our files are: under `HERMES_EDITOR_HOME` when set, else the XDG folders."""
    found = folders.find(env)
    return Paths(Path(found.config), Path(found.data), Path(found.state), Path(found.runtime))


def settings(env: Mapping[str, str], file: Path, cwd: str = "") -> Settings:
    """Read file and environment; a script named relatively lies below `cwd`. Raises `ConfigError`."""
    values = _file_values(file)
    for name in Settings.model_fields:
        if (value := env.get(PREFIX + name.upper())) is not None and name not in FILE_ONLY:
            values[name] = value
    if str(model := values.get("model", "")).startswith(SCRIPTED) and cwd:
        values["model"] = SCRIPTED + str(Path(cwd, str(model).removeprefix(SCRIPTED)))
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"]))
        raise ConfigError(
            f"The setting {name!r} ({PREFIX}{name.upper()} or {file}) is wrong: {first['msg']}."
        ) from error


def _file_values(file: Path) -> dict[str, object]:
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}.") from error
    try:
        return cast("dict[str, object]", tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is not valid TOML: {error}.") from error


def provider_key(env: Mapping[str, str], config: Settings, name: str) -> str:
    """The value of a provider's key variable, from the environment or `[keys]` in the file."""
    return env.get(name) or config.keys.get(name, "")


def child_environment(env: Mapping[str, str]) -> dict[str, str]:
    """What the agent's commands see: everything but secrets and our own settings."""
    return {
        name: value
        for name, value in env.items()
        if not name.startswith(PREFIX) and name not in OWN and not name.upper().endswith(SECRET_ENDINGS)
    }


def for_models(env: Mapping[str, str]) -> dict[str, str]:
    """What can matter to the clients of models: windows in which it is the same share them."""
    return {name: value for name, value in env.items() if name not in PER_WINDOW}


def is_macos() -> bool:
    """Whether this is macOS."""
    return sys.platform == "darwin"
