-- Hermes Editor as an ACP agent in CodeCompanion: a function for its `adapters.acp`.
return function()
  -- A preset is extended, because the handlers of adapters change with CodeCompanion's versions.
  return require("codecompanion.adapters").extend("opencode", {
    name = "hermes_editor",
    formatted_name = "Hermes Editor",
    commands = {
      default = { "hermes-editor", "acp" },
    },
  })
end
