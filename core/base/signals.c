/* A signal that comes between a look at the flag and the wait that follows would be slept through, so the handler also
 * writes to a pipe that the wait includes.
 */
#include "base/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

#include "base/clock.h"

static const int stop_signals[] = {SIGINT, SIGTERM, SIGHUP};
enum { STOP_SIGNALS = sizeof stop_signals / sizeof stop_signals[0] };

static atomic_int caught;
static int pipe_ends[2] = {-1, -1};

/* A terminal sends Ctrl-C to the whole process group, and a wrapper that forwards signals sends it once more: what comes
 * so soon after the first is no second one. */
static const double one_press = 0.3;

/* The handler's own: the other signals wait while it runs, and only the main thread takes them. */
static double first_at;

/* The second one is not for us: the system does what it does by default, whatever this program waits for. */
static void end_at_once(int signal) {
  struct sigaction now;
  if (ldx_clock_now() - first_at < one_press || sigaction(signal, NULL, &now) != 0) return;
  now.sa_handler = SIG_DFL;
  sigaction(signal, &now, NULL);
  raise(signal); /* comes when this returns */
}

static void handle(int signal) {
  int saved = errno;
  if (atomic_load(&caught)) {
    end_at_once(signal);
    errno = saved;
    return;
  }
  first_at = ldx_clock_now();
  atomic_store(&caught, signal);
  ssize_t written = write(pipe_ends[1], "!", 1);
  (void)written; /* a full pipe is readable, too */
  errno = saved;
}

bool ldx_signals_catch(void) {
  if (pipe_ends[0] >= 0) return true;
  int ends[2];
  if (pipe(ends) != 0) return false;
  for (int i = 0; i < 2; i++) {
    fcntl(ends[i], F_SETFD, FD_CLOEXEC);
    fcntl(ends[i], F_SETFL, O_NONBLOCK);
  }
  pipe_ends[0] = ends[0];
  pipe_ends[1] = ends[1];
  struct sigaction action = {.sa_handler = handle}; /* without SA_RESTART: reads of a terminal end as well */
  sigemptyset(&action.sa_mask);
  for (int i = 0; i < STOP_SIGNALS; i++) sigaddset(&action.sa_mask, stop_signals[i]);
  for (int i = 0; i < STOP_SIGNALS; i++) {
    struct sigaction before;
    if (stop_signals[i] == SIGHUP && sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler == SIG_IGN) continue;
    sigaction(stop_signals[i], &action, NULL);
  }
  return true;
}

void ldx_signals_forget(void) {
  atomic_store(&caught, 0);
  ldx_signals_drain();
}

int ldx_signals_caught(void) {
  return atomic_load(&caught);
}

int ldx_signals_descriptor(void) {
  return pipe_ends[0];
}

void ldx_signals_drain(void) {
  char bytes[16];
  if (pipe_ends[0] < 0) return;
  while (read(pipe_ends[0], bytes, sizeof bytes) > 0) {
  }
}
