/* embedded.h: the Lua library as the program carries it, made by core/host/embed.c. */
#ifndef LUNADEX_HOST_EMBEDDED_H
#define LUNADEX_HOST_EMBEDDED_H

#include <stddef.h>

typedef struct ldx_embedded {
  const char *module; /* "lunadex.plan"; NULL ends the list */
  const char *data;   /* a binary chunk */
  size_t size;
} ldx_embedded;

extern const ldx_embedded ldx_embedded_lua[];

#endif
