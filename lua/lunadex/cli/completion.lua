--- lunadex completion: what a shell needs to complete commands and options.

local output = require "lunadex.cli.output"
local plugin = require "lunadex.plugin"

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

-- Whether an option's value is the name of a file.
local function takes_file(option)
  return table.concat(option._aliases, " "):find("--output", 1, true) ~= nil
end

-- Not those of the folder where this happens to be called.
local function shipped_rules()
  local names = {}
  for _, rule in ipairs(plugin.rules { folder = "/dev/null", path = "" }) do names[#names + 1] = rule.name end
  table.sort(names)
  return names
end

-- argparse takes all values of which it knows no choice for names of files.
local function give_choices(parser)
  local rules = shipped_rules()
  for _, command in ipairs(parser._commands) do
    for _, option in ipairs(command._options) do
      if not (option._choices or takes_file(option)) and option._maxargs > 0 then
        option:choices(option._name == "--without" and rules or {})
      end
    end
  end
end

-- In place of a part that argparse's text has once.
local function replace(text, old, new)
  local from, to = text:find(old, 1, true)
  assert(from and not text:find(old, to, true), "the completion that argparse writes is another one")
  return text:sub(1, from - 1) .. new .. text:sub(to + 1)
end

local finish = {}

-- Its own fallback to names of files would come where nothing is to be offered, too.
function finish.bash(text, commands)
  local cases = {}
  for name, choices in pairs(commands) do
    cases[#cases + 1] = ('        "%s %s") COMPREPLY=($(compgen -W "%s" -- "$cur")) ;;\n'):format(name, name, choices)
  end
  text = replace(text, "\n    opts=", [==[

    # --option=value comes in three words
    if [[ "$cur" == "=" ]]; then
        cur=""
    elif [[ "$prev" == "=" ]]; then
        prev="${COMP_WORDS[COMP_CWORD-2]}"
    fi
    opts=]==])
  text = replace(text, [==[
        COMPREPLY=($(compgen -W "$opts" -- "$cur"))
    fi
}]==], ([==[
        COMPREPLY=($(compgen -W "$opts" -- "$cur"))
    elif [[ -n "$cmd" ]]; then
        case "$cmd $prev" in
%s        *)
            compopt -o filenames 2>/dev/null
            COMPREPLY=($(compgen -f -- "$cur"))
            ;;
        esac
    fi
}]==]):format(table.concat(cases)))
  return replace(text, "complete -F _lunadex -o bashdefault -o default lunadex", "complete -F _lunadex lunadex")
end

function finish.fish(text, commands)
  for name, choices in pairs(commands) do
    text = text .. ("complete -c lunadex -n '__fish_lunadex_seen_command %s' -xa '%s'\n"):format(name, choices)
  end
  return text
end

function finish.zsh(text) return text end

-- What may stand behind a command, where that is one of a few words.
local function arguments_of(parser)
  local found = {}
  for _, command in ipairs(parser._commands) do
    local argument = command._arguments[1]
    if argument and argument._choices then found[command._name] = table.concat(argument._choices, " ") end
  end
  return found
end

---@param options table
---@param parser table             # of argparse: the whole command line
---@return integer status
function M.run(options, parser)
  give_choices(parser)
  local text = parser["get_" .. options.shell .. "_complete"](parser)
  output.write(finish[options.shell](text, arguments_of(parser)))
  return 0
end

return M
