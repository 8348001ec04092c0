"""A server made with the official package, over HTTP or SSE on loopback; prints its port.

usage: official.py http|sse
"""

import asyncio
import os
import signal
import socket
import sys

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ToolAnnotations

server = MCPServer("official", log_level="ERROR")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def header(name: str, ctx: Context) -> str:
    """A header of the request."""
    return (ctx.headers or {}).get(name, "")


@server.tool()
async def work(ctx: Context) -> str:
    """Report progress."""
    await ctx.report_progress(1, 2, "half")
    return "done"


@server.tool()
async def grow(ctx: Context) -> str:
    """Get another tool."""
    server.add_tool(lambda: "big now", name="grown")
    await ctx.session.send_tool_list_changed()
    return "grown"


@server.tool()
async def hang() -> str:
    """Never answer."""
    await asyncio.Event().wait()
    return ""


@server.tool()
def huge() -> str:
    """Answer with too much."""
    return "x" * 5_000_000


@server.tool()
def freeze() -> str:
    """Stop without closing anything."""
    os.kill(os.getpid(), signal.SIGSTOP)
    return ""


@server.tool()
def crash() -> str:
    """Take the whole server down."""
    os._exit(3)


async def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    app = server.sse_app() if sys.argv[1] == "sse" else server.streamable_http_app()
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1)
    await uvicorn.Server(config).serve(sockets=[listener])


asyncio.run(main())
