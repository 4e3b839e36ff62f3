/* embed.c: a program of the build, which makes C of the Lua library, compiled: a plan needs 600 kB of it, and to read them
 * as text would take a third of a short run's time.
 *   lunadex-embed OUT lunadex.plan=/path/plan.lua=lua/lunadex/plan.lua …     module, file, its name in messages
 * It is linked with the Lua that the program will have. */
#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct output {
  FILE *file;
  size_t written; /* of this chunk */
} output;

/* Character literals, because `char` may be signed and 0xe2 would not fit. */
static int write_bytes(lua_State *L, const void *bytes, size_t size, void *state) {
  (void)L;
  output *out = state;
  const unsigned char *byte = bytes;
  for (size_t i = 0; i < size; i++) fprintf(out->file, out->written++ % 20 ? "'\\x%02x'," : "\n'\\x%02x',", byte[i]);
  return ferror(out->file);
}

/* The text of a file, for `free`; NULL: it cannot be read. */
static char *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  char *text = NULL;
  if (file && fseek(file, 0, SEEK_END) == 0) {
    long end = ftell(file);
    rewind(file);
    *size = end > 0 ? (size_t)end : 0;
    text = end >= 0 ? malloc(*size + 1) : NULL;
    if (text && fread(text, 1, *size, file) != *size) {
      free(text);
      text = NULL;
    }
  }
  if (file) fclose(file);
  return text;
}

/* What debugging needs stays: messages have lines, and traces the names of functions. */
static bool embed(lua_State *L, output *out, int number, const char *path, const char *name) {
  size_t size;
  char *text = read_file(path, &size);
  const char *chunk = lua_pushfstring(L, "@%s", name), *problem = "cannot be read";
  bool ok = text && luaL_loadbufferx(L, text, size, chunk, "t") == LUA_OK;
  if (text && !ok) problem = lua_tostring(L, -1);
  free(text);
  if (ok) {
    fprintf(out->file, "static const char chunk_%d[] = {", number);
    out->written = 0;
    lua_dump(L, write_bytes, out, 0);
    fprintf(out->file, "};\n");
  } else {
    fprintf(stderr, "%s: %s\n", path, problem);
  }
  lua_settop(L, 0);
  return ok;
}

/* Ends the part of "module=file=name" that begins there, and gives the next. */
static char *cut(char *part) {
  size_t length = strcspn(part, "=");
  bool last = !part[length];
  part[length] = '\0';
  return part + length + !last;
}

int main(int argc, char **argv) {
  lua_State *L = luaL_newstate();
  output out = {.file = argc > 1 ? fopen(argv[1], "w") : NULL};
  if (!L || !out.file) {
    fprintf(stderr, "usage: lunadex-embed OUT MODULE=FILE=NAME…\n");
    return 1;
  }
  fprintf(out.file, "/* Made by core/host/embed.c. */\n#include \"host/embedded.h\"\n\n");
  bool ok = true;
  for (int i = 2; ok && i < argc; i++) {
    char *path = cut(argv[i]);
    ok = embed(L, &out, i, path, cut(path));
  }
  fprintf(out.file, "\nconst ldx_embedded ldx_embedded_lua[] = {\n");
  for (int i = 2; i < argc; i++) fprintf(out.file, "  {\"%s\", chunk_%d, sizeof chunk_%d},\n", argv[i], i, i);
  fprintf(out.file, "  {0, 0, 0},\n};\n");
  ok = !ferror(out.file) && ok;
  ok = fclose(out.file) == 0 && ok;
  if (!ok) remove(argv[1]);
  lua_close(L);
  return ok ? 0 : 1;
}
