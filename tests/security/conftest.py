"""The started commands of the ACP tests, with the scripts of the files here."""

from __future__ import annotations

from tests.acp.conftest import agent, agents, cwd, pool

__all__ = ["agent", "agents", "cwd", "pool"]
