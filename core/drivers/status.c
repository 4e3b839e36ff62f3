/* status.c: the rows of `status`, of which every driver makes the same kind. */
#include <string.h>

#include "lunadex/driver.h"

static const char *const names[LDX_STATUS_COLUMNS] = {
    [LDX_STATUS_KIND] = "kind",   [LDX_STATUS_RELATION] = "relation", [LDX_STATUS_NAME] = "name",
    [LDX_STATUS_PHASE] = "phase", [LDX_STATUS_PERCENT] = "percent",   [LDX_STATUS_PID] = "pid",
    [LDX_STATUS_WHO] = "who",     [LDX_STATUS_BLOCKER] = "blocker",   [LDX_STATUS_DETAIL] = "detail",
    [LDX_STATUS_BYTES] = "bytes",
};
static const char types[LDX_STATUS_COLUMNS + 1] = "ssssnisssn";

const char **ldx_status_add(ldx_status *status) {
  if (status->count == status->room) {
    size_t room = status->room * 2 + 16;
    const char **texts = LDX_ARENA_NEW(status->arena, const char *, room *LDX_STATUS_COLUMNS);
    if (status->count) memcpy(texts, status->texts, status->count * LDX_STATUS_COLUMNS * sizeof *texts);
    status->texts = texts;
    status->room = room;
  }
  return status->texts + LDX_STATUS_COLUMNS * status->count++;
}

ldx_result *ldx_status_result(const ldx_status *status) {
  return ldx_result_of(status->arena, names, types, status->texts, status->count, "STATUS");
}
