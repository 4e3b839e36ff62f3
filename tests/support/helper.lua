-- Loaded by busted before any spec. What is required here stays loaded for the whole run, while each spec file gets a
-- fresh package.loaded otherwise: the servers that specs share must outlive the file that started them.
require "support.shell"
require "support.postgres"
require "support.mongodb"
require "support.lunadex"

require("support.leaks").watch()

-- Whole tables in messages of assertions, however deep.
require("luassert"):set_parameter("TableFormatLevel", -1)
