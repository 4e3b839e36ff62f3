/* clock.h: time for everyone. Thread-safe, cannot fail. */
#ifndef LUNADEX_CLOCK_H
#define LUNADEX_CLOCK_H

#include <time.h>

/* Monotonic seconds from an arbitrary start. */
double ldx_clock_now(void);
/* The same, but it goes on while the machine is suspended: for what others measure meanwhile, as a lease. */
double ldx_clock_boot(void);
/* Sleeps at least so long; goes on after a signal. Nothing for zero or less. */
void ldx_clock_sleep(double seconds);
/* The point of the monotonic clock `seconds` from now, for pthread_cond_timedwait on a CLOCK_MONOTONIC condition. */
struct timespec ldx_clock_deadline(double seconds);

#endif
