;;; hermes-editor.el --- Hermes Editor as an ACP agent in agent-shell  -*- lexical-binding: t; -*-

;;; Code:

(require 'acp)
(require 'agent-shell)

(defcustom hermes-editor-environment nil
  "Environment variables for the agent, as a list of \"NAME=value\"."
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
                   (acp-make-client :command "hermes-editor"
                                    :command-params '("acp")
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
