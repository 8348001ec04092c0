"""The editors we know: where their configuration is, and what stands in it to start the agent."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from hermes_acp import config
from hermes_acp.cli.json_entry import Object
from hermes_acp.records import record

Name = Literal["zed", "jetbrains", "vscode", "neovim", "emacs"]

AGENT = "Hermes Editor"
"""The agent's name in the menus of editors."""

VSCODE_FOLDERS = ("Code", "VSCodium", "Code - OSS")


@record
class Start:
    """How the agent is started: an absolute path (or a name on PATH) and arguments."""

    command: str
    args: tuple[str, ...] = ("acp",)


@record
class Entry:
    """A member of a JSON file that the editor reads: `group.AGENT` is `value`."""

    group: str
    value: Object


@record
class Source:
    """A file of our own in the editor's language, and the line that makes the editor read it."""

    text: str
    use: str


@record
class Editor:
    """An editor: its file for us, the programs and folders that show that it is installed."""

    name: Name
    title: str
    file: Path
    programs: tuple[str, ...]
    folders: tuple[Path, ...]
    next_step: str

    def is_installed(self, env: Mapping[str, str]) -> bool:
        """Whether a program or a folder of it is there."""
        path = env.get("PATH", "")
        return any(shutil.which(program, path=path) for program in self.programs) or any(
            folder.is_dir() for folder in self.folders
        )


def known(env: Mapping[str, str]) -> tuple[Editor, ...]:
    """All editors, with the paths that hold for this user."""
    home = Path(env.get("HOME") or Path.home())
    xdg = env.get("XDG_CONFIG_HOME", "")
    settings = Path(xdg) if xdg.startswith("/") else home / ".config"
    support = home / "Library" / "Application Support" if config.is_macos() else settings
    neovim = settings / (env.get("NVIM_APPNAME") or "nvim")
    vscode = _first([support / name for name in VSCODE_FOLDERS])
    emacs = _emacs(home, settings)
    return (
        Editor(
            "zed",
            "Zed",
            settings / "zed" / "settings.json",
            ("zed", "zeditor"),
            (settings / "zed", Path("/Applications/Zed.app")),
            f"Open the agent panel and start a new {AGENT} thread.",
        ),
        Editor(
            "jetbrains",
            "JetBrains IDEs",
            home / ".jetbrains" / "acp.json",
            (),
            (home / ".jetbrains", support / "JetBrains"),
            f"Open AI Chat and choose {AGENT} as the agent.",
        ),
        Editor(
            "vscode",
            "VS Code",
            vscode / "User" / "settings.json",
            ("code", "codium"),
            (vscode,),
            f"Install the extension formulahendry.acp-client, open its panel and connect to {AGENT}.",
        ),
        Editor(
            "neovim",
            "Neovim",
            neovim / "lua" / "hermes_editor.lua",
            ("nvim",),
            (neovim,),
            "Then :CodeCompanionChat adapter=hermes_editor starts a conversation.",
        ),
        Editor(
            "emacs",
            "Emacs",
            emacs / "hermes-editor.el",
            ("emacs",),
            (emacs,),
            "Then M-x hermes-editor starts a conversation (agent-shell has to be installed).",
        ),
    )


def entry(name: Name, start: Start, file: Path) -> Entry | Source:
    """What the editor has to be told; `file` is where a source of our own will be."""
    command: Object = {"command": start.command, "args": list(start.args), "env": {}}
    match name:
        case "zed":
            return Entry("agent_servers", {"type": "custom", **command})
        case "jetbrains":
            return Entry("agent_servers", command)
        case "vscode":
            return Entry("acp.agents", command)
        case "neovim":
            words = _words((start.command, *start.args), ", ")
            use = 'adapters = { acp = { hermes_editor = require("hermes_editor") } }'
            return Source(NEOVIM.replace("COMMAND", words), f"{use}  -- in CodeCompanion's setup")
        case "emacs":
            text = EMACS.replace("COMMAND", _words((start.command,), " "))
            text = text.replace("ARGUMENTS", _words(start.args, " "))
            return Source(text, f"(load {json.dumps(str(file), ensure_ascii=False)})")


def _words(words: Sequence[str], between: str) -> str:
    """String literals; what JSON escapes, Lua and Emacs Lisp read in the same way."""
    return between.join(json.dumps(word, ensure_ascii=False) for word in words)


def _first(folders: list[Path]) -> Path:
    return next((folder for folder in folders if folder.is_dir()), folders[0])


def _emacs(home: Path, settings: Path) -> Path:
    """Emacs prefers its old folder where there is one."""
    old, new = home / ".emacs.d", settings / "emacs"
    return new if new.is_dir() and not old.is_dir() and not (home / ".emacs").exists() else old


NEOVIM = """\
-- Hermes Editor as an ACP agent in CodeCompanion: a function for its `adapters.acp`.
return function()
  -- A preset is extended, because the handlers of adapters change with CodeCompanion's versions.
  return require("codecompanion.adapters").extend("opencode", {
    name = "hermes_editor",
    formatted_name = "Hermes Editor",
    commands = {
      default = { COMMAND },
    },
  })
end
"""

EMACS = """\
;;; hermes-editor.el --- Hermes Editor as an ACP agent in agent-shell  -*- lexical-binding: t; -*-

;;; Code:

(require 'acp)
(require 'agent-shell)

(defcustom hermes-editor-environment nil
  "Environment variables for the agent, as a list of \\"NAME=value\\"."
  :type '(repeat string)
  :group 'agent-shell)

(defun hermes-editor-config ()
  "The agent's configuration for agent-shell."
  (agent-shell-make-agent-config
   :identifier 'hermes-editor
   :mode-line-name "Hermes Editor"
   :buffer-name "Hermes Editor"
   :shell-prompt "Hermes> "
   :shell-prompt-regexp "Hermes> "
   :client-maker (lambda (buffer)
                   (acp-make-client :command COMMAND
                                    :command-params '(ARGUMENTS)
                                    :environment-variables hermes-editor-environment
                                    :context-buffer buffer))
   :install-instructions "See the README of hermes-editor."))

;; Offered by `agent-shell' among the other agents, unless a function of the user's own lists them.
(unless (functionp agent-shell-agent-configs)
  (add-to-list 'agent-shell-agent-configs (hermes-editor-config) t))

(defun hermes-editor ()
  "Start a conversation with Hermes Editor in the current project."
  (interactive)
  (agent-shell-start :config (hermes-editor-config)))

(provide 'hermes-editor)

;;; hermes-editor.el ends here
"""
