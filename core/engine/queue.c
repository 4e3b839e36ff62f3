#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/internal.h"

void ldx_queue_push(job_queue *queue, ldx_job *job) {
  job->next = NULL;
  if (queue->last)
    queue->last->next = job;
  else
    queue->first = job;
  queue->last = job;
}

void ldx_queue_push_front(job_queue *queue, ldx_job *job) {
  job->next = queue->first;
  queue->first = job;
  if (!queue->last) queue->last = job;
}

ldx_job *ldx_queue_pop(job_queue *queue) {
  ldx_job *job = queue->first;
  if (!job) return NULL;
  queue->first = job->next;
  if (!queue->first) queue->last = NULL;
  job->next = NULL;
  return job;
}

bool ldx_queue_remove(job_queue *queue, const ldx_job *job) {
  ldx_job *before = NULL;
  for (ldx_job *each = queue->first; each; before = each, each = each->next) {
    if (each != job) continue;
    if (before)
      before->next = each->next;
    else
      queue->first = each->next;
    if (queue->last == each) queue->last = before;
    each->next = NULL;
    return true;
  }
  return false;
}

/* An ldx_event is some kilobytes; most events need a few bytes of it, so a node has only what its kind has. */
static event_node *node_new(ldx_event_kind kind, ldx_context *context, const char *text, const ldx_error *error,
                            const ldx_progress *progress) {
  size_t text_size = text ? strlen(text) + 1 : 0;
  size_t size = sizeof(event_node) + (error ? sizeof *error : 0) + (progress ? sizeof *progress : 0) + text_size;
  event_node *node = calloc(1, size);
  if (!node) {
    fprintf(stderr, "lunadex: out of memory (%zu bytes)\n", size);
    abort();
  }
  node->kind = kind;
  node->context = context;
  char *behind = (char *)(node + 1);
  if (progress) { /* first: it needs the strictest alignment */
    node->progress = (ldx_progress *)(void *)behind;
    *node->progress = *progress;
    behind += sizeof *progress;
  }
  if (error) {
    node->error = (ldx_error *)(void *)behind;
    *node->error = *error;
    behind += sizeof *error;
  }
  if (text) {
    node->text = behind;
    memcpy(behind, text, text_size);
  }
  return node;
}

static void append(ldx_engine *engine, event_node *node) {
  node->next = NULL;
  if (engine->last_event) {
    engine->last_event->next = node;
  } else {
    engine->first_event = node;
    while (write(engine->wake[1], "!", 1) < 0 && errno == EINTR) {
    }
  }
  engine->last_event = node;
}

void ldx_event_post(ldx_engine *engine, ldx_event_kind kind, ldx_context *context, const char *text,
                    const ldx_error *error, const ldx_progress *progress, int attempt, double delay) {
  event_node *node = node_new(kind, context, text, error, progress);
  node->attempt = attempt;
  node->delay = delay;
  pthread_mutex_lock(&engine->mutex);
  if (kind == LDX_EVENT_PROGRESS && context->progress_queued) {
    /* An owner that is busy gets the newest figures, not a backlog. */
    *context->progress_queued->progress = *progress;
    free(node);
  } else {
    if (kind == LDX_EVENT_PROGRESS) context->progress_queued = node;
    append(engine, node);
  }
  pthread_mutex_unlock(&engine->mutex);
}

void ldx_event_post_done(ldx_context *context) {
  context->done.kind = LDX_EVENT_DONE;
  context->done.context = context;
  append(context->engine, &context->done);
}

void ldx_event_post_rows(ldx_context *context, ldx_arena *arena, const ldx_result *rows) {
  event_node *node = node_new(LDX_EVENT_ROWS, context, NULL, NULL, NULL);
  node->arena = arena;
  node->rows = rows;
  append(context->engine, node);
}

/* --- notices ---------------------------------------------------------------------------------------------------------- */

/* Bytes of notices of one job that may wait to be polled; and of one text of one, so that one always fits. */
enum { MOST_WAITING = 1 << 20, LONGEST_TEXT = 1 << 17 };

static const char cut_off[] = "…";

/* How much of a text is kept: a character as a whole, or not. */
static size_t kept(const char *text) {
  size_t length = strnlen(text, LONGEST_TEXT);
  if (length == LONGEST_TEXT)
    while (length && ((unsigned char)text[length] & 0xC0) == 0x80) length--;
  return length;
}

static size_t room_for(const char *text) {
  return text ? kept(text) + sizeof cut_off : 0;
}

static const char *put(char **to, const char *text) {
  if (!text) return NULL;
  char *start = *to;
  size_t length = kept(text);
  memcpy(start, text, length);
  *to = start + length;
  if (text[length]) {
    memcpy(*to, cut_off, sizeof cut_off);
    *to += sizeof cut_off;
  } else {
    *(*to)++ = '\0';
  }
  return start;
}

static size_t notice_size(const ldx_notice *notice) {
  return sizeof(event_node) + sizeof *notice + room_for(notice->severity) + room_for(notice->native) +
         room_for(notice->message) + room_for(notice->detail) + room_for(notice->hint);
}

static event_node *notice_node(ldx_context *context, const ldx_notice *notice, size_t size) {
  event_node *node = calloc(1, size);
  if (!node) {
    fprintf(stderr, "lunadex: out of memory (%zu bytes)\n", size);
    abort();
  }
  ldx_notice *copy = (ldx_notice *)(void *)(node + 1);
  char *to = (char *)(copy + 1);
  node->kind = LDX_EVENT_NOTICE;
  node->context = context;
  node->notice = copy;
  node->size = size;
  copy->severity = put(&to, notice->severity);
  copy->native = put(&to, notice->native);
  copy->message = put(&to, notice->message);
  copy->detail = put(&to, notice->detail);
  copy->hint = put(&to, notice->hint);
  copy->left_out = notice->left_out;
  return node;
}

static void append_notice(ldx_context *context, const ldx_notice *notice, size_t size) {
  append(context->engine, notice_node(context, notice, size));
  context->notices_size += size;
}

/* engine.mutex is held. */
static void tell_left_out(ldx_context *context) {
  size_t count = context->notices_left_out;
  if (!count) return;
  ldx_notice notice = {.left_out = count};
  context->notices_left_out = 0;
  append_notice(context, &notice, notice_size(&notice));
}

void ldx_event_post_left_out(ldx_context *context) {
  pthread_mutex_lock(&context->engine->mutex);
  tell_left_out(context);
  pthread_mutex_unlock(&context->engine->mutex);
}

void ldx_event_post_notice(ldx_context *context, const ldx_notice *notice) {
  size_t size = notice_size(notice);
  pthread_mutex_lock(&context->engine->mutex);
  /* Once one was left out, the others are until half of those that wait were taken: what is told is in long pieces, and
   * not every other one says that something is missing. */
  size_t room = context->notices_left_out ? MOST_WAITING / 2 : MOST_WAITING;
  if (context->notices_size + size > room) {
    context->notices_left_out++;
  } else {
    tell_left_out(context);
    append_notice(context, notice, size);
  }
  pthread_mutex_unlock(&context->engine->mutex);
}

/* --- for the owner ---------------------------------------------------------------------------------------------------- */

void ldx_event_free(void *memory) {
  event_node *node = memory;
  if (!node) return;
  ldx_arena_free(node->arena);
  free(node);
}

bool ldx_event_take(ldx_engine *engine, ldx_event *event) {
  pthread_mutex_lock(&engine->mutex);
  event_node *node = engine->first_event;
  if (node) {
    engine->first_event = node->next;
    if (!engine->first_event) {
      engine->last_event = NULL;
      char byte;
      while (read(engine->wake[0], &byte, 1) < 0 && errno == EINTR) {
      }
    }
    if (node->kind == LDX_EVENT_PROGRESS) node->context->progress_queued = NULL;
    if (node->kind == LDX_EVENT_NOTICE) node->context->notices_size -= node->size;
  }
  pthread_mutex_unlock(&engine->mutex);
  if (!node) return false;

  event->kind = node->kind;
  event->job = node->context ? node->context->job : NULL;
  event->attempt = node->attempt;
  event->delay = node->delay;
  if (node->progress) event->progress = *node->progress;
  if (node->error)
    event->error = *node->error;
  else
    ldx_error_clear(&event->error);
  event->text = node->text ? node->text : "";
  event->notice = node->notice;
  event->rows = node->rows;
  event->memory = node->kind == LDX_EVENT_DONE ? NULL : node; /* that one is part of its context */
  return true;
}

void ldx_event_clear(ldx_engine *engine) {
  for (event_node *node = engine->first_event; node;) {
    event_node *next = node->next;
    if (node->kind != LDX_EVENT_DONE) ldx_event_free(node);
    node = next;
  }
  engine->first_event = engine->last_event = NULL;
}
