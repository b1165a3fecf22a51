/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 *  @brief Work on several threads, when the caller wants it. In the library libthinp-check.
 *
 *  The library starts no thread of its own accord. Long work takes a function that runs tasks side by side; a caller
 *  gives the one of his own pool of threads, or thinp_parallel_for_pthreads(), or none.
 */
#ifndef THINP_PARALLEL_H
#define THINP_PARALLEL_H

#include <thinp/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/** One task of several that may run at the same time.
 *
 *  @param task_ctx  what was handed to the ::thinp_parallel_for_fn
 *  @param task      number of the task, from 0
 */
typedef void (*thinp_task_fn)(void *task_ctx, size_t task);

/** Runs each of the tasks 0 to @p nr_tasks - 1 once, in any order, on any threads, the calling one among them or not, and
 *  returns when all have returned. All of them on the calling thread, one after the other, is right, too.
 *
 *  @param ctx       the caller's own pointer
 *  @param nr_tasks  how many, at least 1
 *  @param task      the work
 *  @param task_ctx  handed to @p task
 */
typedef void (*thinp_parallel_for_fn)(void *ctx, size_t nr_tasks, thinp_task_fn task, void *task_ctx);

/** A ::thinp_parallel_for_fn: one thread for each task but the first, which runs on the calling thread. The threads are
 *  made for the call and gone when it returns; they take no signals. Where a thread cannot be had, its task runs on the
 *  calling thread.
 *
 *  @param ctx       not used
 *  @param nr_tasks  how many
 *  @param task      the work
 *  @param task_ctx  handed to @p task
 */
THINP_API void thinp_parallel_for_pthreads(void *ctx, size_t nr_tasks, thinp_task_fn task, void *task_ctx);

#ifdef __cplusplus
}
#endif
#endif
