#include "base/clock.h"

#include <errno.h>

/* A sleep longer than this is "for ever" and keeps time_t from overflowing. */
static const double FOREVER = 1e9;

static struct timespec timespec_of(double seconds) {
  if (!(seconds > 0)) seconds = 0; /* also NaN */
  if (seconds > FOREVER) seconds = FOREVER;
  time_t whole = (time_t)seconds;
  return (struct timespec){.tv_sec = whole, .tv_nsec = (long)((seconds - (double)whole) * 1e9)};
}

double ldx_clock_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

double ldx_clock_boot(void) {
  struct timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void ldx_clock_sleep(double seconds) {
  struct timespec left = timespec_of(seconds);
  while (nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
}

struct timespec ldx_clock_deadline(double seconds) {
  struct timespec now;
  struct timespec add = timespec_of(seconds);
  clock_gettime(CLOCK_MONOTONIC, &now);
  now.tv_sec += add.tv_sec;
  now.tv_nsec += add.tv_nsec;
  if (now.tv_nsec >= 1000000000L) {
    now.tv_sec++;
    now.tv_nsec -= 1000000000L;
  }
  return now;
}
