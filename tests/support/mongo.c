/* mongo.c: MongoDB for tests, as a Lua module over libmongoc. It shares no line with the driver under test, so that what
 * a spec sees of a server is not what the driver believes.
 *
 *   mongo.connect(url)                          a client; the first command is what connects
 *   client:command(database, json, canonical)   the reply as extended JSON, relaxed unless `canonical`; or nil, message,
 *                                               code, reply
 *   client:transaction(database, json)          begins one with this command, and leaves it open; or nil, message
 *   transaction:abort()
 *   client:close()
 */
#include <lauxlib.h>
#include <lua.h>
#include <mongoc/mongoc.h>

static const char type_name[] = "lunadex.test.mongo";
static const char transaction_name[] = "lunadex.test.mongo.transaction";

static mongoc_client_t **to_slot(lua_State *L) {
  return luaL_checkudata(L, 1, type_name);
}

static int client_close(lua_State *L) {
  mongoc_client_t **slot = to_slot(L);
  if (*slot) mongoc_client_destroy(*slot);
  *slot = NULL;
  return 0;
}

static int client_tostring(lua_State *L) {
  lua_pushstring(L, *to_slot(L) ? "mongo client" : "mongo client (closed)");
  return 1;
}

/* The server's answer, which is an empty document where there was none. [-0, +1, m] */
static void push_json(lua_State *L, const bson_t *reply, bool canonical) {
  char *json = canonical ? bson_as_canonical_extended_json(reply, NULL) : bson_as_relaxed_extended_json(reply, NULL);
  lua_pushstring(L, json);
  bson_free(json);
}

static int client_command(lua_State *L) {
  mongoc_client_t *client = *to_slot(L);
  const char *database = luaL_checkstring(L, 2);
  size_t length;
  const char *json = luaL_checklstring(L, 3, &length);
  bool canonical = lua_toboolean(L, 4);
  luaL_argcheck(L, client, 1, "closed");

  bson_t command, reply;
  bson_error_t error;
  if (!bson_init_from_json(&command, json, (ssize_t)length, &error)) return luaL_argerror(L, 3, error.message);
  bool ok = mongoc_client_command_simple(client, database, &command, NULL, &reply, &error);
  bson_destroy(&command);
  if (!ok) {
    lua_pushnil(L);
    lua_pushstring(L, error.message);
    lua_pushinteger(L, error.code);
  }
  push_json(L, &reply, canonical);
  bson_destroy(&reply);
  return ok ? 1 : 4;
}

static int transaction_abort(lua_State *L) {
  mongoc_client_session_t **slot = luaL_checkudata(L, 1, transaction_name);
  if (*slot) mongoc_client_session_destroy(*slot);
  *slot = NULL;
  return 0;
}

static int client_transaction(lua_State *L) {
  mongoc_client_t *client = *to_slot(L);
  const char *database = luaL_checkstring(L, 2), *json = luaL_checkstring(L, 3);
  luaL_argcheck(L, client, 1, "closed");
  mongoc_client_session_t **slot = lua_newuserdatauv(L, sizeof *slot, 1);
  *slot = NULL;
  luaL_setmetatable(L, transaction_name);
  lua_pushvalue(L, 1); /* the client has to outlive it */
  lua_setiuservalue(L, -2, 1);

  bson_t command, options = BSON_INITIALIZER;
  bson_error_t error;
  if (!bson_init_from_json(&command, json, -1, &error)) return luaL_argerror(L, 3, error.message);
  *slot = mongoc_client_start_session(client, NULL, &error);
  bool ok = *slot && mongoc_client_session_start_transaction(*slot, NULL, &error) &&
            mongoc_client_session_append(*slot, &options, &error) &&
            mongoc_client_command_with_opts(client, database, &command, NULL, &options, NULL, &error);
  bson_destroy(&command);
  bson_destroy(&options);
  if (ok) return 1;
  lua_pushnil(L);
  lua_pushstring(L, error.message);
  return 2;
}

static int client_open(lua_State *L) {
  const char *url = luaL_checkstring(L, 1);
  mongoc_client_t **slot = lua_newuserdatauv(L, sizeof *slot, 0);
  *slot = NULL;
  luaL_setmetatable(L, type_name);

  bson_error_t error;
  mongoc_uri_t *uri = mongoc_uri_new_with_error(url, &error);
  if (!uri) return luaL_argerror(L, 1, error.message);
  *slot = mongoc_client_new_from_uri_with_error(uri, &error);
  mongoc_uri_destroy(uri);
  if (!*slot) return luaL_argerror(L, 1, error.message);
  mongoc_client_set_error_api(*slot, MONGOC_ERROR_API_VERSION_2);
  return 1;
}

static const luaL_Reg functions[] = {{"connect", client_open}, {NULL, NULL}};
static const luaL_Reg methods[] = {
    {"command", client_command}, {"transaction", client_transaction}, {"close", client_close}, {NULL, NULL}};
static const luaL_Reg transaction_methods[] = {{"abort", transaction_abort}, {NULL, NULL}};
static const luaL_Reg transaction_metamethods[] = {
    {"__gc", transaction_abort}, {"__close", transaction_abort}, {NULL, NULL}};
static const luaL_Reg metamethods[] = {
    {"__tostring", client_tostring}, {"__gc", client_close}, {"__close", client_close}, {NULL, NULL}};

__attribute__((visibility("default"))) int luaopen_mongo(lua_State *L);

int luaopen_mongo(lua_State *L) {
  mongoc_init();
  /* It warns where a server is gone that it wants to say goodbye to; servers go often here. */
  mongoc_log_set_handler(NULL, NULL);
  if (luaL_newmetatable(L, type_name)) {
    luaL_setfuncs(L, metamethods, 0);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
  }
  if (luaL_newmetatable(L, transaction_name)) {
    luaL_setfuncs(L, transaction_metamethods, 0);
    luaL_newlib(L, transaction_methods);
    lua_setfield(L, -2, "__index");
  }
  luaL_newlib(L, functions);
  return 1;
}
