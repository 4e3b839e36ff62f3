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
