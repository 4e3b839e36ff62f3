/* core.c: the module `lunadex.core`. What is here is described in lua/meta/core.lua. */
#include "lua/counted.h"
#include "lua/definition.h"
#include "lua/editor.h"
#include "lua/files.h"
#include "lua/parse.h"
#include "lua/sandbox.h"
#include "lua/step.h"
#include "lua/userdata.h"
#include "lua/value.h"

int luaopen_lunadex_core(lua_State *L);

int luaopen_lunadex_core(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"open", ldx_lua_open},
      {"wait", ldx_lua_wait},
      {"declarations", ldx_lua_declarations},
      {"diff", ldx_lua_diff},
      {"views", ldx_lua_views},
      {"index_views", ldx_lua_index_views},
      {"describe", ldx_lua_describe},
      {"fingerprint", ldx_lua_fingerprint},
      {"check", ldx_lua_check},
      {"short_option", ldx_lua_short_option},
      {"nearest", ldx_lua_nearest},
      {"quote_name", ldx_lua_quote_name},
      {"split_name", ldx_lua_split_name},
      {"parse_sql", ldx_lua_parse_sql},
      {"check_expression", ldx_lua_check_expression},
      {"excluded_nulls", ldx_lua_excluded_nulls},
      {"parameters", ldx_lua_parameters},
      {"assigned_columns", ldx_lua_assigned_columns},
      {"number_text", ldx_lua_number_text},
      {"run_limited", ldx_lua_run_limited},
      {"current_line", ldx_lua_current_line},
      {"list_directory", ldx_lua_list_directory},
      {"resolve_path", ldx_lua_resolve_path},
      {"private_file", ldx_lua_private_file},
      {"value", ldx_lua_value},
      {"document", ldx_lua_document},
      {"list", ldx_lua_list},
      {"catch_signals", ldx_lua_catch_signals},
      {"signal", ldx_lua_signal},
      {"forget_signal", ldx_lua_forget_signal},
      {"call_while_computing", ldx_lua_call_while_computing},
      {"now", ldx_lua_now},
      {"retry_delay", ldx_lua_retry_delay},
      {"terminal", ldx_lua_terminal},
      {"editor", ldx_lua_editor},
      {"writable", ldx_lua_writable},
      {NULL, NULL},
  };
  luaL_checkversion(L);
  ldx_lua_open_declarations(L);
  ldx_lua_open_catalog(L);
  ldx_lua_open_diff(L);
  ldx_lua_open_database(L);
  ldx_lua_open_editor(L);
  luaL_newlib(L, functions);
  ldx_lua_open_value(L);
  ldx_lua_open_counted(L);
  lua_pushliteral(L, LUNADEX_VERSION);
  lua_setfield(L, -2, "version");
  return 1;
}
