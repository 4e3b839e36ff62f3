--- lunadex completion: what a shell needs to complete commands and options.

local output = require "lunadex.cli.output"

local M = {}

M.summary = "completion of commands and options for a shell"

M.examples = [[
  lunadex completion bash > /etc/bash_completion.d/lunadex
  lunadex completion zsh > "${fpath[1]}/_lunadex"
  lunadex completion fish > ~/.config/fish/completions/lunadex.fish]]

M.own_options = true

---@param command table            # of argparse
function M.define(command)
  command:argument "shell" :choices { "bash", "zsh", "fish" } :description "bash, zsh or fish."
end

---@param options table
---@param parser table             # of argparse: the whole command line
---@return integer status
function M.run(options, parser)
  output.write(parser["get_" .. options.shell .. "_complete"](parser))
  return 0
end

return M
