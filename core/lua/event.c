
#include "lua/catalog.h"
#include "lua/database.h"
#include "lua/push.h"
#include "lua/userdata.h"
#include "lua/value.h"

static const char *const event_names[] = {
    [LDX_EVENT_STARTED] = "started", [LDX_EVENT_PROGRESS] = "progress",   [LDX_EVENT_NOTE] = "note",
    [LDX_EVENT_NOTICE] = "notice",   [LDX_EVENT_ROWS] = "rows",           [LDX_EVENT_RETRY] = "retry",
    [LDX_EVENT_DONE] = "done",       [LDX_EVENT_LOCK_LOST] = "lock_lost",
};

/* Each sets a field of the table on top. [-0, +0, m] */

static void set_text(lua_State *L, const char *field, const char *text) {
  lua_pushstring(L, text);
  lua_setfield(L, -2, field);
}

static void set_number(lua_State *L, const char *field, double value) {
  lua_pushnumber(L, value);
  lua_setfield(L, -2, field);
}

static void set_integer(lua_State *L, const char *field, lua_Integer value) {
  lua_pushinteger(L, value);
  lua_setfield(L, -2, field);
}

static void set_flag(lua_State *L, const char *field, bool value) {
  lua_pushboolean(L, value);
  lua_setfield(L, -2, field);
}

static void set_error(lua_State *L, const ldx_error *error) {
  ldx_lua_push_error(L, error);
  lua_setfield(L, -2, "error");
}

static void set_progress(lua_State *L, const ldx_progress *progress) {
  set_text(L, "phase", progress->phase);
  set_number(L, "done", progress->done);
  set_number(L, "total", progress->total);
  set_text(L, "unit", progress->unit);
  set_flag(L, "started", progress->started);
  set_flag(L, "draining", progress->draining);
  if (progress->blocker_pid) set_integer(L, "blocker_pid", (lua_Integer)progress->blocker_pid);
  if (progress->blocker[0]) set_text(L, "blocker", progress->blocker);
}

static void set_notice(lua_State *L, const ldx_notice *notice) {
  if (notice->severity) set_text(L, "severity", notice->severity);
  if (notice->message) set_text(L, "message", notice->message);
  if (notice->native) set_text(L, "native", notice->native);
  if (notice->detail) set_text(L, "detail", notice->detail);
  if (notice->hint) set_text(L, "hint", notice->hint);
  if (notice->left_out) set_integer(L, "left_out", (lua_Integer)notice->left_out);
}

static void push_info(lua_State *L, const ldx_server_info *info) {
  lua_createtable(L, 0, 12);
  set_text(L, "driver", info->driver);
  set_text(L, "product", info->product);
  set_text(L, "version", info->version);
  set_integer(L, "version_number", info->version_number);
  set_text(L, "database", info->database);
  set_text(L, "user", info->user);
  set_text(L, "host", info->host);
  set_text(L, "port", info->port);
  set_text(L, "display", info->display);
  set_text(L, "identity", info->identity);
  set_flag(L, "read_only", info->read_only);
  set_flag(L, "standby", info->standby);
  set_text(L, "warning", info->warning);
}

static void push_measures(lua_State *L, const ldx_job *job) {
  lua_createtable(L, (int)job->measure_count, 0);
  for (size_t i = 0; i < job->measure_count; i++) {
    const ldx_measure *measure = &job->measures[i];
    lua_createtable(L, 0, 10);
    set_number(L, "rows", measure->rows);
    set_number(L, "table_bytes", measure->table_bytes);
    set_number(L, "index_bytes", measure->index_bytes);
    set_number(L, "entries", measure->entries);
    set_number(L, "scans", measure->scans);
    set_number(L, "scans_since", measure->scans_since);
    set_flag(L, "being_built", measure->being_built);
    set_text(L, "builder", measure->builder);
    if (measure->at_parts[0]) set_text(L, "at_parts", measure->at_parts);
    set_text(L, "forbidden", measure->forbidden);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

static void set_transition(lua_State *L, const ldx_transition *transition) {
  set_flag(L, "committed", transition->committed);
  lua_createtable(L, (int)transition->done, 0);
  for (size_t i = 0; i < transition->done; i++) {
    ldx_lua_push_rows(L, transition->results[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_setfield(L, -2, "results");
}

static void set_done(lua_State *L, ldx_job *job) {
  set_flag(L, "ok", job->ok);
  set_integer(L, "attempts", job->attempts);
  if (job->session) set_integer(L, "session", job->session);
  if (job->kind == LDX_JOB_PERFORM) set_flag(L, "built", job->built);
  set_number(L, "seconds", job->seconds);
  if (job->kind == LDX_JOB_TRANSACT) set_transition(L, &job->transition);
  if (!job->ok) {
    set_error(L, &job->error);
    return;
  }
  switch (job->kind) {
  case LDX_JOB_CONNECT:
    push_info(L, &job->info);
    break;
  case LDX_JOB_CATALOG:
    ldx_lua_push_catalog(L, &job->catalog);
    break;
  case LDX_JOB_QUERY:
  case LDX_JOB_HISTORY:
  case LDX_JOB_STATUS:
    ldx_lua_push_rows(L, job->result);
    break;
  case LDX_JOB_MEASURE:
    push_measures(L, job);
    break;
  case LDX_JOB_RESOLVE:
  case LDX_JOB_PERFORM:
  case LDX_JOB_TRANSACT:
  case LDX_JOB_LOCK:
  case LDX_JOB_UNLOCK:
    return;
  }
  lua_setfield(L, -2, "result");
}

void ldx_lua_push_event(lua_State *L, const ldx_event *event) {
  /* Unless it is DONE, a finalizer may end the job while its event is told. */
  lua_Integer job = event->job ? (lua_Integer)event->job->id : 0;
  luaL_checkstack(L, 10, NULL);
  lua_createtable(L, 0, 8);
  set_text(L, "event", event_names[event->kind]);
  if (job) set_integer(L, "job", job);
  switch (event->kind) {
  case LDX_EVENT_STARTED:
    break;
  case LDX_EVENT_PROGRESS:
    set_progress(L, &event->progress);
    break;
  case LDX_EVENT_NOTE:
    set_text(L, "text", event->text);
    break;
  case LDX_EVENT_NOTICE:
    set_notice(L, event->notice);
    break;
  case LDX_EVENT_ROWS:
    ldx_lua_push_rows(L, event->rows);
    lua_setfield(L, -2, "rows");
    break;
  case LDX_EVENT_RETRY:
    set_error(L, &event->error);
    set_integer(L, "attempt", event->attempt);
    set_number(L, "delay", event->delay);
    break;
  case LDX_EVENT_DONE:
    if (event->job) set_done(L, event->job);
    break;
  case LDX_EVENT_LOCK_LOST:
    set_error(L, &event->error);
    break;
  }
}
