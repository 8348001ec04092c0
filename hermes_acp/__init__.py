"""An agent backend for editors: ACP and LSP over stdio, one core behind every window."""

__version__ = "0.1.0"
