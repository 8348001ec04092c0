"""The way to a model: everything a client has to know, found before any client is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from hermes_acp.llm.catalog import UNKNOWN, ModelInfo
from hermes_acp.records import record


@record
class Dialect:
    """What differs between the servers that speak the OpenAI chat-completions format.

    `model` owns opaque state, which goes back as the message member `blocks`. `thoughts`: the
    reasoning of an answer with tool calls goes back as `reasoning_content`. `short_call_ids`: ids
    of calls must be nine letters or digits. `cache_marks`: the provider caches the prompt only up to
    places that the request marks.
    """

    model: str
    images: bool = True
    thoughts: bool = False
    blocks: Literal["", "reasoning_details", "thinking_blocks"] = ""
    short_call_ids: bool = False
    cache_marks: bool = False


@record
class Route:
    """A model at a server: `name` as the user set it, `model` as the client calls it.

    `credentials` are further arguments of litellm. `key_variable` is what messages tell to set. `env` is
    the environment in which the proxy, and what litellm wants to know beside that, are found.
    """

    name: str
    model: str
    dialect: Dialect
    base_url: str = ""
    info: ModelInfo = UNKNOWN
    key: str = field(default="", repr=False)
    key_variable: str = ""
    env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    credentials: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
