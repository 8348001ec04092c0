"""The protocol's content to ours: pure functions, the way in."""

from __future__ import annotations

from collections.abc import Sequence

from hermes_acp.content import AudioBlock, Block, ImageBlock, LinkBlock, ResourceBlock, TextBlock
from hermes_acp.server.acp import schema
from hermes_acp.tools.mcp.config import McpServer


def blocks(content: Sequence[schema.ContentBlock]) -> tuple[Block, ...]:
    """The blocks of a prompt."""
    return tuple(_block(item) for item in content)


def mcp_servers(servers: Sequence[schema.McpServer]) -> tuple[McpServer, ...]:
    """The MCP servers that a client configures for a session."""
    return tuple(_server(item) for item in servers)


def _block(item: schema.ContentBlock) -> Block:
    match item:
        case schema.TextContent():
            return TextBlock(item.text)
        case schema.ImageContent():
            return ImageBlock(item.data, item.mime_type, item.uri)
        case schema.AudioContent():
            return AudioBlock(item.data, item.mime_type)
        case schema.ResourceLink():
            return LinkBlock(item.uri, item.name, item.title, item.description, item.mime_type, item.size)
        case schema.EmbeddedResource(resource=resource):
            return ResourceBlock(resource.uri, resource.text, resource.blob, resource.mime_type)


def _server(item: schema.McpServer) -> McpServer:
    match item:
        case schema.StdioServer():
            env = tuple((pair.name, pair.value) for pair in item.env)
            return McpServer(item.name, "stdio", command=item.command, args=tuple(item.args), env=env)
        case schema.RemoteServer():
            headers = tuple((pair.name, pair.value) for pair in item.headers)
            return McpServer(item.name, item.type, url=item.url, headers=headers)
