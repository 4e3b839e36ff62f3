/* DESIGN
 *
 * Relation by relation. Declarations are matched in passes, each stricter than the next, so that of several identical
 * indexes the one that also has the declared name (then the declared storage options, then validity) is taken, and every
 * live one at most once. What no pass matches is to be created, or replaces the live index that has its name.
 */
#include "lunadex/diff.h"

#include <stdint.h>
#include <string.h>

#include "base/buffer.h"

static const char *const action_names[] = {
    [LDX_ACTION_KEEP] = "keep",   [LDX_ACTION_CREATE] = "create",   [LDX_ACTION_REPLACE] = "replace",
    [LDX_ACTION_ALTER] = "alter", [LDX_ACTION_REBUILD] = "rebuild", [LDX_ACTION_STRAY] = "stray",
    [LDX_ACTION_ERROR] = "error",
};

const char *ldx_action_name(ldx_action action) {
  return action_names[action];
}

static const size_t NONE = SIZE_MAX;

/* One diff in the making. */
typedef struct work {
  ldx_arena *arena;
  ldx_declarations *set;
  const ldx_dialect *dialect;
  ldx_diff *diff;
  bool *used;      /* by live ordinal: matched or replaced */
  size_t *first;   /* by relation ordinal: first declaration on it, or NONE */
  size_t *next;    /* by declaration: the next one on the same relation */
  bool *mentioned; /* by relation ordinal: the registry speaks of it */
} work;

static bool is_key(const ldx_definition *definition) {
  return definition->kind == LDX_KIND_UNIQUE || definition->kind == LDX_KIND_PRIMARY_KEY;
}

static bool same_text(const char *a, const char *b) {
  return a && b ? strcmp(a, b) == 0 : a == b;
}

/* --- matching ----------------------------------------------------------------------------------------------------- */

typedef bool (*preference)(const ldx_declared *declared, const ldx_live *live);

static bool prefer_name(const ldx_declared *declared, const ldx_live *live) {
  return declared->name && strcmp(declared->name, live->name) == 0;
}

static bool prefer_storage(const ldx_declared *declared, const ldx_live *live) {
  return live->valid && ldx_definition_storage_equal(declared->canonical, live->definition);
}

static bool prefer_valid(const ldx_declared *declared, const ldx_live *live) {
  (void)declared;
  return live->valid;
}

/* An invalid one under another name is a leftover to be built again under the right one; but of a partitioned relation it
 * may be somebody's, on purpose without all partitions, and stands in nobody's way. */
static bool prefer_any(const ldx_declared *declared, const ldx_live *live) {
  return !declared->name || !live->partitioned || strcmp(declared->name, live->name) == 0;
}

static ldx_change *change_of(work *w, size_t ordinal) {
  return &w->diff->items[ordinal];
}

/* A partition's index that came with the parent's is the parent's affair where the registry speaks of the parent, too: a
 * declaration of another name means another index. */
static bool is_parents(const work *w, const ldx_declared *declared, const ldx_live *live) {
  if (!live->inherited || !declared->name || strcmp(declared->name, live->name) == 0) return false;
  for (const ldx_live *parent = live->parent; parent; parent = parent->parent)
    if (w->mentioned[parent->relation->ordinal]) return true;
  return false;
}

static void match(work *w, const ldx_relation *relation, preference preferred) {
  for (size_t d = w->first[relation->ordinal]; d != NONE; d = w->next[d]) {
    ldx_change *change = change_of(w, d);
    if (change->live) continue;
    for (size_t i = 0; i < relation->live_count; i++) {
      ldx_live *live = relation->live[i];
      if (!w->used[live->ordinal] && ldx_fingerprint_equal(live->fingerprint, change->declared->fingerprint) &&
          preferred(change->declared, live) && !is_parents(w, change->declared, live)) {
        change->live = live;
        w->used[live->ordinal] = true;
        break;
      }
    }
  }
}

/* A unique constraint does all that a declared unique index would do, unless it may be deferred. One that is declared
 * itself does not count: who declares both wants both. */
static ldx_live *satisfying_key(const work *w, const ldx_relation *relation, const ldx_declared *declared) {
  if (declared->canonical->kind != LDX_KIND_INDEX || !declared->canonical->unique) return NULL;
  for (size_t i = 0; i < relation->live_count; i++) {
    ldx_live *live = relation->live[i];
    if (!w->used[live->ordinal] && is_key(live->definition) && !live->definition->deferrable &&
        !live->definition->without_overlaps &&
        ldx_fingerprint_equal(ldx_definition_index_fingerprint(live->definition), declared->fingerprint))
      return live;
  }
  return NULL;
}

/* An undeclared unique index that a declared unique constraint or primary key can take over. */
static ldx_live *takeable_index(const work *w, const ldx_relation *relation, const ldx_declared *declared) {
  const ldx_definition *key = declared->canonical;
  if (!is_key(key) || key->without_overlaps || relation->kind == 'p') return NULL;
  ldx_fingerprint wanted = ldx_definition_index_fingerprint(key);
  for (size_t i = 0; i < relation->live_count; i++) {
    ldx_live *live = relation->live[i];
    if (!w->used[live->ordinal] && live->valid && !live->inherited && !live->extension_owned &&
        live->definition->kind == LDX_KIND_INDEX && ldx_fingerprint_equal(live->fingerprint, wanted))
      return live;
  }
  return NULL;
}

/* Whether it has the name of another declaration that nothing live is like: then it is that one's to replace. */
static bool is_namesake_of_another(const work *w, const ldx_live *live, const ldx_declared *declared) {
  for (size_t d = w->first[live->relation->ordinal]; d != NONE; d = w->next[d]) {
    const ldx_change *other = &w->diff->items[d];
    if (other->declared != declared && !other->live && prefer_name(other->declared, live)) return true;
  }
  return false;
}

/* One that nobody declared and that can be made the declared one in place; the one of its name before any other. */
static ldx_live *convertible(const work *w, const ldx_relation *relation, const ldx_declared *declared) {
  ldx_live *found = NULL;
  for (size_t i = 0; w->dialect->can_become && i < relation->live_count; i++) {
    ldx_live *live = relation->live[i];
    if (w->used[live->ordinal] || !w->dialect->can_become(declared->canonical, live)) continue;
    if (prefer_name(declared, live)) return live;
    if (!found && !is_namesake_of_another(w, live, declared)) found = live;
  }
  return found;
}

static ldx_live *namesake(const work *w, const ldx_relation *relation, const ldx_declared *declared) {
  if (!declared->name) return NULL;
  for (size_t i = 0; i < relation->live_count; i++) {
    ldx_live *live = relation->live[i];
    if (!w->used[live->ordinal] && strcmp(live->name, declared->name) == 0 && !live->inherited &&
        !live->extension_owned && live->definition->kind == declared->canonical->kind)
      return live;
  }
  return NULL;
}

/* --- reasons ------------------------------------------------------------------------------------------------------ */

static bool same_keys(const ldx_definition *a, const ldx_definition *b) {
  ldx_definition x = *a, y = *b;
  x.kind = y.kind;
  x.method = y.method;
  x.unique = y.unique;
  x.nulls_not_distinct = y.nulls_not_distinct;
  x.include = y.include;
  x.predicate = y.predicate;
  x.predicate_form = y.predicate_form;
  x.traits = y.traits;
  x.storage = y.storage;
  x.deferrable = y.deferrable;
  x.initially_deferred = y.initially_deferred;
  x.not_enforced = y.not_enforced;
  x.references = y.references;
  x.references_columns = y.references_columns;
  x.on_update = y.on_update;
  x.on_delete = y.on_delete;
  x.on_delete_columns = y.on_delete_columns;
  x.match = y.match;
  return ldx_fingerprint_equal(ldx_definition_fingerprint(&x), ldx_definition_fingerprint(&y));
}

static const char *options_reason(ldx_arena *arena, const char *what, const ldx_options *live) {
  ldx_buffer out;
  ldx_buffer_init(&out, arena);
  ldx_buffer_appendf(&out, "%s differ: live has ", what);
  if (live->count == 0) ldx_buffer_append(&out, "none");
  for (size_t i = 0; i < live->count; i++)
    ldx_buffer_appendf(&out, "%s%s=%s", i > 0 ? ", " : "", live->items[i].name, live->items[i].value);
  return ldx_buffer_string(&out);
}

static bool same_traits(const ldx_options *a, const ldx_options *b) {
  size_t found = 0;
  for (size_t i = 0; i < a->count; i++)
    for (size_t j = 0; j < b->count; j++) found += ldx_option_equal(&a->items[i], &b->items[j]);
  return found == a->count && a->count == b->count;
}

static const char *compared_predicate(const ldx_definition *definition) {
  return definition->predicate_form ? definition->predicate_form : definition->predicate;
}

/* The first difference that a person would name. */
static const char *difference(const work *w, const ldx_definition *declared, const ldx_definition *live) {
  ldx_arena *arena = w->arena;
  const ldx_wording *words = ldx_dialect_wording(w->dialect);
  if (!same_text(declared->method, live->method))
    return ldx_arena_printf(arena, "method differs: live is %s", live->method);
  if (!same_keys(declared, live)) return ldx_arena_printf(arena, "keys differ: live is %s", words->text(arena, live));
  if (declared->unique != live->unique)
    return live->unique ? "uniqueness differs: live is unique" : "uniqueness differs: live is not unique";
  if (!same_text(compared_predicate(declared), compared_predicate(live)))
    return live->predicate ? ldx_arena_printf(arena, "%s differs: live %s %s", words->predicate, words->with_predicate,
                                              live->predicate)
                           : ldx_arena_printf(arena, "%s differs: live %s", words->predicate, words->without_predicate);
  if (declared->nulls_not_distinct != live->nulls_not_distinct)
    return live->nulls_not_distinct ? "nulls differ: live is NULLS NOT DISTINCT"
                                    : "nulls differ: live is NULLS DISTINCT";
  if (declared->tablespace && !same_text(declared->tablespace, live->tablespace))
    return ldx_arena_printf(arena, "tablespace differs: live is in %s",
                            live->tablespace ? live->tablespace : "the default one");
  if (!same_traits(&declared->traits, &live->traits)) return options_reason(arena, "options", &live->traits);
  if (!ldx_definition_storage_equal(declared, live)) return options_reason(arena, words->storage, &live->storage);
  return ldx_arena_printf(arena, "definition differs: live is %s", words->text(arena, live));
}

static const char *invalid_reason(const work *w, const ldx_live *live) {
  if (w->dialect->finishes_builds) return "not finished";
  if (!live->live) return "half-dropped: a concurrent drop did not finish";
  if (live->partitioned) return "incomplete: not every partition has its index attached";
  if (live->ready) return "invalid, but kept up by every write: a build failed late, or a drop was cancelled";
  return "invalid since a failed build";
}

/* Whether somebody builds something else that only differs in what the fingerprint leaves out, and cannot be made what is
 * declared once it is finished. */
static bool is_other_build(const work *w, const ldx_definition *canonical, const ldx_live *live) {
  return w->dialect->finishes_builds && !ldx_definition_storage_equal(canonical, live->definition) &&
         !w->dialect->can_alter(canonical, live);
}

/* --- one relation ------------------------------------------------------------------------------------------------- */

static void decide_matched(work *w, ldx_change *change) {
  const ldx_declared *declared = change->declared;
  const ldx_live *live = change->live;
  const ldx_definition *canonical = declared->canonical;
  change->name_differs = declared->name && strcmp(declared->name, live->name) != 0;
  if (canonical->kind == LDX_KIND_FOREIGN_KEY) {
    bool unvalidated = !live->valid && !canonical->not_enforced;
    change->action = unvalidated ? LDX_ACTION_ALTER : LDX_ACTION_KEEP;
    change->reason = unvalidated ? "not validated: rows older than the constraint were never checked" : "";
  } else if ((!live->valid || !live->live) && !is_other_build(w, canonical, live)) {
    change->action = LDX_ACTION_REBUILD;
    change->reason = invalid_reason(w, live);
  } else if (live->inherited || ldx_definition_storage_equal(canonical, live->definition)) {
    change->action = LDX_ACTION_KEEP;
    change->reason = "";
  } else {
    change->action = w->dialect->can_alter(canonical, live) ? LDX_ACTION_ALTER : LDX_ACTION_REPLACE;
    change->reason = difference(w, canonical, live->definition);
  }
}

static void decide_unmatched(work *w, const ldx_relation *relation, ldx_change *change) {
  const ldx_declared *declared = change->declared;
  ldx_live *live = satisfying_key(w, relation, declared);
  if (live) {
    change->action = LDX_ACTION_KEEP;
    change->live = live;
    change->satisfied_by_key = true;
    change->name_differs = declared->name && strcmp(declared->name, live->name) != 0;
    change->reason =
        ldx_arena_printf(w->arena, "the %s %s does the same",
                         live->definition->kind == LDX_KIND_UNIQUE ? "unique constraint" : "primary key", live->name);
    return;
  }
  live = convertible(w, relation, declared);
  if (live) {
    /* One that is not ready is built first: as such a thing is begun, if only on the way to what is declared. */
    change->action = live->valid ? LDX_ACTION_ALTER : LDX_ACTION_REBUILD;
    change->live = live;
    w->used[live->ordinal] = true;
    change->name_differs = declared->name && strcmp(declared->name, live->name) != 0;
    change->reason = live->valid ? difference(w, declared->canonical, live->definition) : invalid_reason(w, live);
    return;
  }
  live = namesake(w, relation, declared);
  if (live) {
    change->action = LDX_ACTION_REPLACE;
    change->live = live;
    w->used[live->ordinal] = true;
    change->reason = difference(w, declared->canonical, live->definition);
    return;
  }
  change->action = LDX_ACTION_CREATE;
  change->reason = "not there";
  live = takeable_index(w, relation, declared);
  if (live) {
    change->live = live;
    change->use_existing = true;
    w->used[live->ordinal] = true;
    change->reason = ldx_arena_printf(w->arena, "not there; takes over the unique index %s", live->name);
  }
}

static void diff_relation(work *w, const ldx_relation *relation) {
  static const preference passes[] = {prefer_name, prefer_storage, prefer_valid, prefer_any};
  for (size_t i = 0; i < sizeof passes / sizeof *passes; i++) match(w, relation, passes[i]);
  for (size_t d = w->first[relation->ordinal]; d != NONE; d = w->next[d])
    if (change_of(w, d)->live) decide_matched(w, change_of(w, d));
  for (size_t d = w->first[relation->ordinal]; d != NONE; d = w->next[d])
    if (!change_of(w, d)->live) decide_unmatched(w, relation, change_of(w, d));
}

static bool is_stray(const work *w, const ldx_live *live) {
  return !w->used[live->ordinal] && live->definition->kind == LDX_KIND_INDEX && !live->inherited &&
         !live->extension_owned && !live->relation->extension_owned;
}

static bool repeats_declared(const work *w, const ldx_live *stray) {
  const ldx_relation *relation = stray->relation;
  for (size_t i = 0; i < relation->live_count; i++)
    if (w->used[relation->live[i]->ordinal] &&
        ldx_fingerprint_equal(relation->live[i]->fingerprint, stray->fingerprint))
      return true;
  return false;
}

static void add_strays(work *w, const ldx_relation *relation) {
  for (size_t i = 0; i < relation->live_count; i++) {
    ldx_live *live = relation->live[i];
    if (live->definition->kind == LDX_KIND_FOREIGN_KEY ? !live->inherited : !live->inherited && !live->extension_owned)
      w->diff->live++;
    if (!is_stray(w, live)) continue;
    ldx_change *change = change_of(w, w->diff->count++);
    *change = (ldx_change){.action = LDX_ACTION_STRAY, .ordinal = SIZE_MAX, .live = live};
    change->duplicate = repeats_declared(w, live);
    change->reason = change->duplicate           ? "repeats a declared index"
                     : live->valid && live->live ? "not declared"
                                                 : invalid_reason(w, live);
  }
}

/* --- all of them -------------------------------------------------------------------------------------------------- */

static void group_by_relation(work *w, ldx_catalog *catalog) {
  size_t relations = ldx_catalog_relation_count(catalog), declarations = ldx_declarations_count(w->set);
  w->first = LDX_ARENA_NEW(w->arena, size_t, relations);
  w->next = LDX_ARENA_NEW(w->arena, size_t, declarations);
  w->mentioned = LDX_ARENA_NEW(w->arena, bool, relations);
  for (size_t i = 0; i < relations; i++) w->first[i] = NONE;
  /* From the back, so that each list is in order of declaration. */
  for (size_t d = declarations; d-- > 0;) {
    ldx_declared *declared = ldx_declarations_at(w->set, d);
    ldx_change *change = change_of(w, d);
    *change = (ldx_change){.action = LDX_ACTION_ERROR, .ordinal = d, .declared = declared, .reason = ""};
    if (declared->relation) w->mentioned[declared->relation->ordinal] = true;
    if (declared->relation && declared->resolved) {
      w->next[d] = w->first[declared->relation->ordinal];
      w->first[declared->relation->ordinal] = d;
    } else if (declared->error) {
      change->reason = declared->error->message;
    }
  }
  for (size_t i = 0; i < ldx_declarations_relation_count(w->set); i++) {
    ldx_relation *relation = ldx_catalog_relation(catalog, ldx_declarations_relation_at(w->set, i));
    if (relation) w->mentioned[relation->ordinal] = true;
  }
}

ldx_diff *ldx_diff_make(ldx_arena *arena, ldx_declarations *set, ldx_catalog *catalog) {
  size_t declarations = ldx_declarations_count(set);
  work w = {
      .arena = arena, .set = set, .dialect = ldx_catalog_dialect(catalog), .diff = LDX_ARENA_NEW(arena, ldx_diff, 1)};
  w.used = LDX_ARENA_NEW(arena, bool, ldx_catalog_live_count(catalog));
  w.diff->items = LDX_ARENA_NEW(arena, ldx_change, declarations + ldx_catalog_live_count(catalog));
  w.diff->count = w.diff->declared = declarations;
  group_by_relation(&w, catalog);
  for (size_t i = 0; i < ldx_catalog_relation_count(catalog); i++)
    if (w.first[i] != NONE) diff_relation(&w, ldx_catalog_relation_at(catalog, i));
  for (size_t i = 0; i < ldx_catalog_relation_count(catalog); i++)
    if (w.mentioned[i]) add_strays(&w, ldx_catalog_relation_at(catalog, i));
  w.diff->taken = LDX_ARENA_NEW(arena, bool, ldx_catalog_live_count(catalog));
  for (size_t i = 0; i < w.diff->count; i++) {
    const ldx_change *change = &w.diff->items[i];
    w.diff->by_action[change->action]++;
    if (change->declared && change->live) w.diff->taken[change->live->ordinal] = true;
  }
  return w.diff;
}
