#include "lua/database.h"

#include <stdlib.h>
#include <string.h>

#include "lua/catalog.h"
#include "lua/definition.h"
#include "lua/push.h"
#include "lua/step.h"
#include "lua/userdata.h"
#include "lua/value.h"

const ldx_driver *ldx_lua_test_driver;

static const char class[] = "lunadex.Database", hand_class[] = "lunadex.Hand";

typedef struct database {
  ldx_engine *engine; /* NULL: closed */
  ldx_lua_job *jobs;  /* submitted */
} database;

/* What one call has in hand: a job that is being filled, or an event that is being told. It is Lua's to free, since all
 * that allocates may raise; and the call's own, since it may also run a finalizer, which says other things to the same
 * database, or closes it. */
typedef struct hand {
  ldx_lua_job *job;
  void *memory; /* of an event */
} hand;

/* What only reads is tried a few times: a server that restarts, or has too many clients, is back after a moment. */
static const ldx_retry_policy reading = {.attempts = 3, .first_delay = 0.5, .factor = 2, .max_delay = 5};
/* Somebody waits for the answer of the first connection, and a wrong address stays wrong: who has time says so. */
static const ldx_retry_policy once = {.attempts = 1};

/* --- jobs ----------------------------------------------------------------------------------------------------------- */

static void job_free(ldx_lua_job *job) {
  if (!job) return;
  if (job->job.kind == LDX_JOB_CATALOG) ldx_catalog_release(job->job.catalog);
  for (size_t i = 0; i < job->catalog_count; i++) ldx_catalog_release(job->catalogs[i]);
  if (job->set) job->set->busy = false;
  ldx_lua_set_release(job->set);
  ldx_arena_free(job->job.arena);
  free(job);
}

static database *check(lua_State *L) {
  database *db = luaL_checkudata(L, 1, class);
  luaL_argcheck(L, db->engine, 1, "attempt to use a closed database");
  return db;
}

static void hand_clear(hand *h) {
  job_free(h->job);
  ldx_event_free(h->memory);
  *h = (hand){0};
}

static int hand_close(lua_State *L) {
  hand_clear(lua_touserdata(L, 1));
  return 0;
}

/* [-0, +1, m] */
static hand *push_hand(lua_State *L) {
  return ldx_lua_new(L, hand_class, sizeof(hand), 0);
}

/* A job to be filled, at the top of the stack. Arguments that others may use are only then looked at. [-0, +1, m] */
static ldx_lua_job *draft(lua_State *L, ldx_job_kind kind, const ldx_retry_policy *retry) {
  hand *h = push_hand(L);
  ldx_lua_job *job = calloc(1, sizeof *job);
  if (!job) abort(); /* as the arena does */
  job->job.kind = kind;
  job->job.retry = *retry;
  job->job.arena = ldx_arena_new();
  return h->job = job;
}

/* Keeps `catalog` for the job, unless it was the last one to be kept. `room` is how many there may be. */
static void keep(ldx_lua_job *job, ldx_catalog *catalog, size_t room) {
  if (job->catalog_count && job->catalogs[job->catalog_count - 1] == catalog) return;
  if (!job->catalogs) job->catalogs = LDX_ARENA_NEW(job->job.arena, ldx_catalog *, room);
  job->catalogs[job->catalog_count++] = ldx_catalog_retain(catalog);
}

/* The draft at the top of the stack. */
static int submit(lua_State *L) {
  database *db = check(L); /* which may have been closed meanwhile */
  hand *h = lua_touserdata(L, -1);
  ldx_lua_job *job = h->job;
  h->job = NULL;
  job->next = db->jobs;
  if (job->next) job->next->previous = job;
  db->jobs = job;
  ldx_engine_submit(db->engine, &job->job);
  lua_pushinteger(L, (lua_Integer)job->job.id);
  return 1;
}

static void take_back(database *db, ldx_lua_job *job) {
  if (job->previous)
    job->previous->next = job->next;
  else
    db->jobs = job->next;
  if (job->next) job->next->previous = job->previous;
  if (job->set) job->set->busy = false;
}

static int simple(lua_State *L, ldx_job_kind kind, const ldx_retry_policy *retry) {
  check(L);
  draft(L, kind, retry);
  return submit(L);
}

static int as_told(lua_State *L, ldx_job_kind kind) {
  ldx_retry_policy retry = once;
  check(L);
  ldx_lua_opt_retry(L, 2, &retry);
  return simple(L, kind, &retry);
}

static int db_connect(lua_State *L) {
  return as_told(L, LDX_JOB_CONNECT);
}
static int db_catalog(lua_State *L) {
  return simple(L, LDX_JOB_CATALOG, &reading);
}
static int db_status(lua_State *L) {
  return simple(L, LDX_JOB_STATUS, &once);
}
static int db_lock(lua_State *L) {
  return as_told(L, LDX_JOB_LOCK);
}
static int db_unlock(lua_State *L) {
  return simple(L, LDX_JOB_UNLOCK, &once);
}

static int db_resolve(lua_State *L) {
  check(L);
  lua_settop(L, 3);
  ldx_lua_job *job = draft(L, LDX_JOB_RESOLVE, &reading);
  ldx_lua_set *set = ldx_lua_check_set(L, 2);
  ldx_catalog *catalog = ldx_lua_check_catalog(L, 3);
  luaL_argcheck(L, !set->diffed, 2, "a diff has been made of these declarations: copy them");
  luaL_argcheck(L, !set->catalog || set->catalog == catalog, 3, "these declarations were resolved against another one");
  keep(job, catalog, 1);
  if (!set->catalog) set->catalog = ldx_catalog_retain(catalog);
  set->frozen = set->busy = true;
  set->references++;
  job->set = set;
  job->job.catalog = catalog;
  job->job.declarations = set->set;
  return submit(L);
}

/* The item at the top of the stack. */
static void read_measure(lua_State *L, ldx_lua_job *job, ldx_measure *measure, size_t count) {
  ldx_catalog *catalog = NULL;
  if (lua_type(L, -1) != LUA_TTABLE) luaL_argerror(L, 2, "list of tables expected");
  lua_getfield(L, -1, "relation");
  measure->relation = ldx_lua_test_relation(L, -1, &catalog);
  if (!measure->relation) luaL_argerror(L, 2, "field 'relation': lunadex.Relation expected");
  keep(job, catalog, 2 * count);
  if (lua_getfield(L, -2, "index") != LUA_TNIL) {
    measure->live = ldx_lua_test_live(L, -1, &catalog);
    if (!measure->live) luaL_argerror(L, 2, "field 'index': lunadex.Index expected");
    keep(job, catalog, 2 * count);
  }
  if (lua_getfield(L, -3, "fields") != LUA_TNIL) {
    ldx_lua_fields *fields = LDX_ARENA_NEW(job->job.arena, ldx_lua_fields, 1);
    ldx_lua_check_fields_at(L, -1, 2, job->job.arena, fields);
    measure->definition = &fields->definition;
  }
  lua_pop(L, 3);
  bool *const planned[] = {&measure->build, &measure->drop, &measure->alter};
  static const char *const names[] = {"build", "drop", "alter"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    lua_getfield(L, -1, names[i]);
    *planned[i] = lua_toboolean(L, -1);
    lua_pop(L, 1);
  }
  measure->rows = measure->table_bytes = measure->index_bytes = measure->scans = measure->scans_since = -1;
}

static int db_measure(lua_State *L) {
  check(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  ldx_lua_job *job = draft(L, LDX_JOB_MEASURE, &reading);
  size_t count = (size_t)lua_rawlen(L, 2);
  job->job.measures = LDX_ARENA_NEW(job->job.arena, ldx_measure, count);
  job->job.measure_count = count;
  for (size_t i = 0; i < count; i++) {
    lua_rawgeti(L, 2, (lua_Integer)i + 1);
    read_measure(L, job, &job->job.measures[i], count);
    lua_pop(L, 1);
  }
  return submit(L);
}

static int db_perform(lua_State *L) {
  check(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  ldx_lua_job *job = draft(L, LDX_JOB_PERFORM, &ldx_retry_default);
  ldx_lua_check_step(L, 2, job->job.arena, &job->job.step, &job->job.retry);
  return submit(L);
}

/* The list at `index`, of argument `arg`, may have holes, which are nulls: its length is `n`, as table.pack sets it, or
 * the largest index. */
static size_t parameter_count(lua_State *L, int index, int arg) {
  lua_Integer largest = 0;
  lua_pushliteral(L, "n");
  int type = lua_rawget(L, index);
  luaL_argcheck(L, type == LUA_TNIL || lua_isinteger(L, -1), arg, "field 'n': number of parameters expected");
  if (type != LUA_TNIL) largest = lua_tointeger(L, -1);
  lua_pop(L, 1);
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1))
    if (lua_isinteger(L, -2) && lua_tointeger(L, -2) > largest) largest = lua_tointeger(L, -2);
  luaL_argcheck(L, largest >= 0 && largest <= 65535, arg, "too many parameters");
  return (size_t)largest;
}

/* The parameters at `index`, where they may be left out. */
static void read_parameters(lua_State *L, int index, int arg, ldx_statement *statement, ldx_arena *arena) {
  if (lua_isnoneornil(L, index)) return;
  luaL_argcheck(L, lua_istable(L, index), arg, "a list of parameters expected");
  size_t count = statement->parameter_count = parameter_count(L, index, arg);
  ldx_value *values = LDX_ARENA_NEW(arena, ldx_value, count + 1);
  statement->parameters = values;
  for (size_t i = 0; i < count; i++) {
    lua_rawgeti(L, index, (lua_Integer)i + 1);
    values[i] = ldx_lua_check_value(L, -1, arg, arena);
    lua_pop(L, 1);
  }
}

static int db_query(lua_State *L) {
  check(L);
  lua_settop(L, 4);
  if (!lua_isnil(L, 3)) luaL_checktype(L, 3, LUA_TTABLE);
  lua_Integer batch = luaL_optinteger(L, 4, 0);
  luaL_argcheck(L, batch >= 0 && batch <= 1000000, 4, "between 1 and 1000000 rows expected");
  const char *text = lua_istable(L, 2) ? NULL : ldx_lua_check_text(L, 2);
  ldx_lua_job *job = draft(L, LDX_JOB_QUERY, &reading);
  ldx_statement *statement = &job->job.statement;
  statement->batch = (size_t)batch;
  if (text) {
    statement->text = ldx_arena_strdup(job->job.arena, text);
  } else {
    ldx_value *command = LDX_ARENA_NEW(job->job.arena, ldx_value, 1);
    *command = ldx_lua_check_value(L, 2, 2, job->job.arena);
    luaL_argcheck(L, command->kind == LDX_VALUE_DOCUMENT, 2, "a document expected");
    statement->command = command;
  }
  read_parameters(L, 3, 3, statement, job->job.arena);
  return submit(L);
}

/* The list of statements at `index`, {text, parameters}, which may be left out. */
static void read_statements(lua_State *L, int index, ldx_statement *to, size_t count, ldx_arena *arena) {
  for (size_t i = 0; i < count; i++) {
    lua_rawgeti(L, index, (lua_Integer)i + 1);
    int statement = lua_gettop(L);
    luaL_argcheck(L, lua_istable(L, statement), index, "a list of statements expected");
    luaL_argcheck(L, lua_rawgeti(L, statement, 1) == LUA_TSTRING, index, "the text of a statement expected");
    to[i].text = ldx_arena_strdup(arena, ldx_lua_check_text(L, -1));
    lua_rawgeti(L, statement, 2);
    read_parameters(L, statement + 2, index, &to[i], arena);
    lua_settop(L, statement - 1);
  }
}

static int db_transact(lua_State *L) {
  static const char *const words[] = {[LDX_TRANSACTION_BEGIN] = "begin",
                                      [LDX_TRANSACTION_COMMIT] = "commit",
                                      [LDX_TRANSACTION_ROLLBACK] = "rollback",
                                      [LDX_TRANSACTION_NEXT] = "next",
                                      NULL};
  enum { LAST = 3, FIRST = 4 };
  check(L);
  lua_settop(L, FIRST);
  int what = luaL_checkoption(L, 2, NULL, words);
  bool ends = ldx_transaction_commits((ldx_transaction)what), begins = ldx_transaction_begins((ldx_transaction)what);
  luaL_argcheck(L, lua_isnil(L, LAST) || (lua_istable(L, LAST) && ends), LAST, "a list, before COMMIT, expected");
  luaL_argcheck(L, lua_isnil(L, FIRST) || (lua_istable(L, FIRST) && begins), FIRST, "a list, behind BEGIN, expected");
  size_t last = lua_isnil(L, LAST) ? 0 : lua_rawlen(L, LAST), first = lua_isnil(L, FIRST) ? 0 : lua_rawlen(L, FIRST);
  ldx_lua_job *job = draft(L, LDX_JOB_TRANSACT, &once);
  ldx_statement *statements = LDX_ARENA_NEW(job->job.arena, ldx_statement, last + first + 1);
  job->job.transition =
      (ldx_transition){.what = (ldx_transaction)what, .statements = statements, .count = last + first, .last = last};
  read_statements(L, LAST, statements, last, job->job.arena);
  read_statements(L, FIRST, statements + last, first, job->job.arena);
  return submit(L);
}

/* What is written into the history: texts, whatever they were. */
static void read_texts(lua_State *L, ldx_job *job) {
  if (lua_isnoneornil(L, 3)) return;
  size_t count = parameter_count(L, 3, 3);
  job->parameter_count = count;
  job->parameters = LDX_ARENA_NEW(job->arena, const char *, count + 1);
  for (size_t i = 0; i < count; i++) {
    int type = lua_rawgeti(L, 3, (lua_Integer)i + 1);
    if (type == LUA_TBOOLEAN) {
      job->parameters[i] = lua_toboolean(L, -1) ? "true" : "false";
    } else if (type == LUA_TNUMBER || type == LUA_TSTRING) {
      size_t length;
      job->parameters[i] = ldx_arena_strdup(job->arena, lua_tolstring(L, -1, &length));
      if (strlen(job->parameters[i]) != length) luaL_argerror(L, 3, "a parameter has a zero byte");
    } else if (type != LUA_TNIL) {
      luaL_argerror(L, 3, "parameters are strings, numbers, booleans or nil");
    }
    lua_pop(L, 1);
  }
}

static int db_history(lua_State *L) {
  static const char *const words[] = {[LDX_HISTORY_READ] = "read",
                                      [LDX_HISTORY_RUN] = "run",
                                      [LDX_HISTORY_CHANGE] = "change",
                                      [LDX_HISTORY_END] = "end",
                                      NULL};
  check(L);
  int what = luaL_checkoption(L, 2, NULL, words);
  lua_settop(L, 3);
  if (!lua_isnil(L, 3)) luaL_checktype(L, 3, LUA_TTABLE);
  ldx_lua_job *job = draft(L, LDX_JOB_HISTORY, &once);
  job->job.history = (ldx_history)what;
  read_texts(L, &job->job);
  return submit(L);
}

/* --- events --------------------------------------------------------------------------------------------------------- */

/* The job of that number; NULL: it is over. */
static ldx_job *job_of(lua_State *L, const database *db, int argument) {
  lua_Integer id = luaL_checkinteger(L, argument);
  for (ldx_lua_job *job = db->jobs; job; job = job->next)
    if (job->job.id == (uint64_t)id) return &job->job;
  return NULL;
}

static int db_cancel(lua_State *L) {
  database *db = check(L);
  ldx_job *job = lua_isnoneornil(L, 2) ? NULL : job_of(L, db, 2);
  /* One that is over needs no cancelling. */
  if (job || lua_isnoneornil(L, 2)) ldx_engine_cancel(db->engine, job);
  return 0;
}

static int db_more(lua_State *L) {
  database *db = check(L);
  ldx_job *job = job_of(L, db, 2);
  if (job) ldx_engine_more(db->engine, job);
  return 0;
}

static int db_poll(lua_State *L) {
  database *db = check(L);
  double timeout = luaL_optnumber(L, 2, -1);
  luaL_argcheck(L, timeout >= 0 || lua_isnoneornil(L, 2), 2, "seconds expected");
  hand *h = push_hand(L);
  ldx_event event;
  if (!ldx_engine_poll(check(L)->engine, timeout, &event)) {
    lua_pushnil(L);
    return 1;
  }
  h->memory = event.memory;
  if (event.kind == LDX_EVENT_DONE) {
    h->job = (ldx_lua_job *)event.job;
    take_back(db, h->job);
  }
  ldx_lua_push_event(L, &event);
  hand_clear(h);
  return 1;
}

int ldx_lua_wait(lua_State *L) {
  enum { MOST = 1024 };
  luaL_checktype(L, 1, LUA_TTABLE);
  double timeout = luaL_optnumber(L, 2, -1);
  luaL_argcheck(L, timeout >= 0 || lua_isnoneornil(L, 2), 2, "seconds expected");
  size_t count = (size_t)lua_rawlen(L, 1);
  luaL_argcheck(L, count <= MOST, 1, "at most 1024 databases expected");
  ldx_engine *engines[MOST];
  for (size_t i = 0; i < count; i++) {
    lua_rawgeti(L, 1, (lua_Integer)i + 1);
    const database *db = luaL_testudata(L, -1, class);
    luaL_argcheck(L, db && db->engine, 1, "open databases expected");
    engines[i] = db->engine;
    lua_pop(L, 1);
  }
  ldx_engine_wait(engines, count, timeout);
  return 0;
}

static int db_pending(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)ldx_engine_pending(check(L)->engine));
  return 1;
}

/* --- life ----------------------------------------------------------------------------------------------------------- */

static int db_close(lua_State *L) {
  database *db = luaL_checkudata(L, 1, class);
  ldx_engine *engine = db->engine;
  db->engine = NULL;
  ldx_engine_free(engine);
  for (ldx_lua_job *job = db->jobs, *next; job; job = next) {
    next = job->next;
    job_free(job);
  }
  db->jobs = NULL;
  return 0;
}

static int db_tostring(lua_State *L) {
  database *db = luaL_checkudata(L, 1, class);
  if (db->engine)
    lua_pushfstring(L, "%s: %p", class, (void *)db);
  else
    lua_pushfstring(L, "%s (closed)", class);
  return 1;
}

const ldx_driver *ldx_lua_driver_for(const char *url, ldx_error *error) {
  if (ldx_lua_test_driver && strncmp(url, "fake:", 5) == 0) return ldx_lua_test_driver;
  return ldx_driver_for(url, error);
}

int ldx_lua_open(lua_State *L) {
  ldx_target target = {.url = ldx_lua_check_text(L, 1), .application_name = "lunadex"};
  lua_Integer jobs = 2;
  lua_settop(L, 2);
  if (!lua_isnil(L, 2)) {
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_getfield(L, 2, "jobs"); /* 3 */
    jobs = luaL_optinteger(L, 3, jobs);
    lua_getfield(L, 2, "application_name"); /* 4: stays on the stack, so that the string lives */
    if (!lua_isnil(L, 4)) target.application_name = ldx_lua_check_text(L, 4);
    lua_getfield(L, 2, "connect_timeout"); /* 5 */
    target.connect_timeout = luaL_optnumber(L, 5, 0);
    lua_getfield(L, 2, "read_only"); /* 6 */
    target.read_only = lua_toboolean(L, 6);
    lua_getfield(L, 2, "to_write"); /* 7 */
    target.to_write = lua_toboolean(L, 7);
    lua_getfield(L, 2, "notices"); /* 8 */
    target.notices = lua_toboolean(L, 8);
    lua_getfield(L, 2, "lasting"); /* 9 */
    target.lasting = lua_toboolean(L, 9);
  }
  database *db = ldx_lua_new(L, class, sizeof *db, 0);
  ldx_error error;
  ldx_error_clear(&error);
  const ldx_driver *driver = ldx_lua_driver_for(target.url, &error);
  if (driver) db->engine = ldx_engine_new(driver, &target, jobs < 0 || jobs > 100000 ? 0 : (int)jobs, &error);
  if (!db->engine) return ldx_lua_fail(L, &error);
  return 1;
}

void ldx_lua_open_database(lua_State *L) {
  static const luaL_Reg meta[] = {{"__gc", db_close}, {"__close", db_close}, {"__tostring", db_tostring}, {NULL, NULL}};
  static const luaL_Reg methods[] = {
      {"connect", db_connect},
      {"catalog", db_catalog},
      {"resolve", db_resolve},
      {"measure", db_measure},
      {"perform", db_perform},
      {"query", db_query},
      {"transact", db_transact},
      {"more", db_more},
      {"history", db_history},
      {"status", db_status},
      {"lock", db_lock},
      {"unlock", db_unlock},
      {"cancel", db_cancel},
      {"poll", db_poll},
      {"pending", db_pending},
      {"close", db_close},
      {NULL, NULL},
  };
  static const luaL_Reg hand_meta[] = {{"__gc", hand_close}, {"__close", hand_close}, {NULL, NULL}};
  ldx_lua_class(L, class, meta, methods, NULL);
  ldx_lua_class(L, hand_class, hand_meta, NULL, NULL);
}
