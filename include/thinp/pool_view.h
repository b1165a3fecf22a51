/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 *  @brief Reading a pool that another thread changes.
 *
 *  There are two ways. A *view* shows one commit for as long as it is open, whatever is committed meanwhile; its readers wait
 *  for nobody. A *live* look shows the open transaction; looks and changes wait for each other.
 */
#ifndef THINP_POOL_VIEW_H
#define THINP_POOL_VIEW_H

#include <thinp/pool.h>
#include <thinp/store.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Open a view of the last commit. From any thread, also while a transaction is open.
 *
 *  A view is a pool of its own, opened for reading: all functions that read a pool take it, on any number of threads at
 *  once, and thinp_pool_close() closes it. It shares the block cache of the pool that it was opened on, and costs the
 *  metadata blocks that later commits would otherwise use again. Data blocks that are free in a later commit may be
 *  written to, although the view still shows what was mapped to them.
 *
 *  @param pool       the pool; must outlive the view. One that was opened for reading, or a view, will do as well: the new
 *                    view shows the same
 *  @param flags      #THINP_POOL_METADATA_SNAP or 0
 *  @param[out] view  the view
 *  @retval 0               done
 *  @retval THINP_ENOTSUP   other flags
 *  @retval THINP_ENOENT    the commit has no metadata snapshot
 *  @retval THINP_EINVAL    @p pool shows a metadata snapshot itself
 *  @retval THINP_ECORRUPT  the copy of the superblock makes no sense
 *  @retval THINP_ESTALE    @p pool is a view that had to give way
 *  @retval THINP_EIO       the device failed
 *  @retval THINP_ENOMEM    no memory
 */
THINP_API int thinp_pool_view_open(struct thinp_pool *pool, uint32_t flags, struct thinp_pool **view);

/** Copy out what a view shows and what it costs. From any thread.
 *
 *  When views hold back more than thinp_pool_opts::view_limit_blocks, the oldest becomes stale: all reading answers
 *  #THINP_ESTALE then.
 *
 *  @param view          the view
 *  @param[in,out] info  `size` set by the caller; at most that many bytes are filled in. The commits of a pool have no
 *                       numbers of their own: they are counted from opening it
 *  @retval 0             done
 *  @retval THINP_EINVAL  it is no view, or one of a pool that nobody changes
 */
THINP_API int thinp_pool_view_get_info(struct thinp_pool *view, struct thinp_view_info *info);

/** Begin to look at the open transaction, or, when none is open, at the last commit, from any thread but one that changes
 *  the pool at the moment. The pool must have been opened with #THINP_POOL_LIVE.
 *
 *  Until thinp_pool_live_end() nothing changes, and all functions that read the pool can be called on this thread, any
 *  number of threads at once. Looks and changes come by turns, as with thinp_store_live_begin(): each call of a
 *  function that changes the pool is one change.
 *
 *  @param pool  the pool
 *  @retval 0                 done
 *  @retval THINP_EROFS       the pool was opened for reading
 *  @return or as thinp_store_live_begin()
 */
THINP_API int thinp_pool_live_begin(struct thinp_pool *pool);

/** End what thinp_pool_live_begin() began.
 *
 *  @param pool  the pool
 */
THINP_API void thinp_pool_live_end(struct thinp_pool *pool);

#ifdef __cplusplus
}
#endif
#endif
