/* signals.h: signals that ask the process to stop. Process-wide; `ldx_signals_catch` is for the main thread. */
#ifndef LUNADEX_SIGNALS_H
#define LUNADEX_SIGNALS_H

#include <stdbool.h>

/* From now on the first SIGINT, SIGTERM or SIGHUP is only remembered; the next one of any of them, but for what comes in
 * the same third of a second, kills the process.
 * An ignored SIGHUP (nohup) stays ignored. Once is enough; false: no descriptor is left. */
bool ldx_signals_catch(void);

/* The signal that came, 0 if none did. */
int ldx_signals_caught(void);

/* As if none had come: the next one is a first one again. */
void ldx_signals_forget(void);

/* Becomes readable when a signal has come, so that a wait can include it; -1 before ldx_signals_catch. */
int ldx_signals_descriptor(void);
/* Makes it unreadable again: each signal ends one wait. */
void ldx_signals_drain(void);

#endif
