"""One open line to an MCP server: the library's dispatcher, hardened, and how the line ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, cast

from mcp.shared.dispatcher import CallOptions
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp_types import RequestId, Tool
from mcp_types.methods import validate_server_result
from pydantic import ValidationError

from hermes_acp.records import record

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""One message of a server; a longer one ends the connection (or, over HTTP, the call)."""

MAX_LISTED = 500
"""Tools of one page of a listing that are looked at."""


@record
class Wire:
    """A transport that is open.

    `gone` is set when nothing can come over it any more; `why` then says what is known about the
    reason, possibly nothing.
    """

    dispatcher: ListingDispatcher
    gone: asyncio.Event
    why: Callable[[], str]


class ListingDispatcher(JSONRPCDispatcher):
    """The library's dispatcher, forgiving one broken tool in a listing.

    The library refuses a whole listing for it; here the tool alone is left out and remembered in
    `broken`. Output schemas are left out too: the library would check every result against them on
    the event loop, where a server's regular expression could stop all sessions.
    """

    broken: tuple[str, ...] = ()

    async def send_raw_request(
        self,
        method: str,
        params: Mapping[str, Any] | None,
        opts: CallOptions | None = None,
        *,
        _related_request_id: RequestId | None = None,
    ) -> dict[str, Any]:
        """Send a request; as in the base class, with listings mended."""
        result = await super().send_raw_request(method, params, opts, _related_request_id=_related_request_id)
        listed: object = result.get("tools")
        if method != "tools/list" or not isinstance(listed, list):
            return result
        version = (opts or {}).get("headers", {}).get("mcp-protocol-version", "")
        usable: list[dict[str, object]] = []
        broken: list[str] = []
        for item in cast("list[object]", listed)[:MAX_LISTED]:
            if problem := _problem(result, item, version):
                broken.append(problem)
            else:
                usable.append(_without_output_schema(cast("dict[str, object]", item)))
        self.broken = tuple(broken)
        return {**result, "tools": usable}


def _problem(page: dict[str, Any], item: object, version: str) -> str:
    try:
        validate_server_result("tools/list", version, {**page, "tools": [item]})
        Tool.model_validate(item, by_name=False)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"] if part not in ("tools", 0))
        name = cast("dict[str, object]", item).get("name") if isinstance(item, dict) else None
        return f"{name or 'a tool without a name'} ({place}: {first['msg']})"
    return ""


def _without_output_schema(item: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in item.items() if key != "outputSchema"}
