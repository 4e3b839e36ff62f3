#include "library.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* Of every version 1; version 2 is another library. */
static const char file[] = "libmongoc-1.0.so.0";

ldx_mongoc_functions ldx_mongoc;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char failure[512];

/* libmongoc keeps statistics in a file in shared memory that would outlive a process which is killed; nobody here looks at
 * them. It asks the environment, as soon as it is loaded; and that may only be changed before there are threads. */
__attribute__((constructor)) static void decline_statistics(void) {
  setenv("MONGOC_DISABLE_SHM", "1", 0);
}

static bool find(void *library, const char *name, void **function) {
  *function = dlsym(library, name);
  if (!*function) snprintf(failure, sizeof failure, "%s has no %s", file, name);
  return *function != NULL;
}

/* Never unloaded: other threads may still be at it when the main one ends. */
static void load(void) {
  void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    snprintf(failure, sizeof failure, "%s", dlerror());
    return;
  }
#define X(name)                                                                                                        \
  if (!find(library, "mongoc_" #name, (void **)&ldx_mongoc.name)) return;
  LDX_MONGOC_FUNCTIONS(X)
#undef X
  /* What it has to say comes as errors; its warnings would stand between the lines of a report. */
  ldx_mongoc.log_set_handler(NULL, NULL);
  ldx_mongoc.init();
}

bool ldx_mongoc_load(ldx_error *error) {
  pthread_once(&once, load);
  if (!*failure) return true;
  ldx_error_set(error, LDX_ERROR_UNSUPPORTED, "the library for MongoDB could not be loaded: %s", failure);
  ldx_error_hint(error, "Debian's package of it is libmongoc-1.0-0.");
  return false;
}
