/* redact.h: keeps secrets of a target out of messages. Pure text, no server. */
#ifndef LUNADEX_BASE_REDACT_H
#define LUNADEX_BASE_REDACT_H

#include <stdbool.h>
#include <stddef.h>

typedef struct ldx_secrets {
  size_t count;
  char *items[12]; /* malloc */
} ldx_secrets;

/* Adds a copy; an empty one is nothing. */
void ldx_secrets_add(ldx_secrets *secrets, const char *secret);
/* What stands in a target where a password belongs, as written and percent-decoded, even if the target is malformed. */
void ldx_secrets_of_target(ldx_secrets *secrets, const char *target);
/* Drops those that are part of `text`, which may be told, or that are too short to be looked for. */
void ldx_secrets_forget(ldx_secrets *secrets, const char *text);
void ldx_secrets_free(ldx_secrets *secrets); /* wipes them */

/* Replaces each secret in `text` by "***", in place. `size` is the room of `text`. */
void ldx_redact(const ldx_secrets *secrets, char *text, size_t size);
/* For complaints about a key=value target that does not parse: what they quote may be any part of an unquoted password,
 * so whatever stands in the target after "pass" is not quoted. */
void ldx_redact_quoted(const char *target, char *text, size_t size);

/* A URL whose user or password holds an unescaped @ or /: libpq would take a part of the password for the host, and
 * would tell everybody that it cannot find it. */
bool ldx_target_is_ambiguous(const char *url);

#endif
