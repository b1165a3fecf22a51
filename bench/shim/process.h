/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * shim/process.h - what Linux knows about this process.
 */
#ifndef BENCH_SHIM_PROCESS_H
#define BENCH_SHIM_PROCESS_H

#include <stdint.h>

/* Bytes that system calls have been given to write: what goes to the device and what the page cache keeps back are counted
 * alike. */
uint64_t process_written_bytes(void);

/* The most memory since the last reset, file pages mapped into the process included. */
void process_reset_peak(void);
uint64_t process_peak_bytes(void);

/* CPU seconds of the calling thread. */
double process_thread_seconds(void);
double process_wall_seconds(void);

/* Folders of a benchmark: made empty, measured, forgotten by the page cache, removed. */
int folder_make(const char *folder);
uint64_t folder_bytes(const char *folder);
void folder_drop_cache(const char *folder);
void folder_remove(const char *folder);

#endif
