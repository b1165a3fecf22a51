/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 *  @brief Space maps: how many references there are to each block, and which blocks are free.
 *
 *  A space map counts the blocks of some device. A *data map* counts those of a device that holds data; a *metadata map*
 *  counts the very blocks that all metadata is made of, its own among them. Both live in metadata blocks.
 *
 *  Counts are kept in memory while a transaction is open, and written down ("recorded") when it is committed. What
 *  arises while counts are recorded waits in a queue of operations (thinp/op_queue.h).
 *
 *  Free blocks have four names. *Zero* blocks have a count of 0. Of these, *allocatable* are those that the last commit
 *  does not use and no view holds. Of these, *available* are those that are not kept back so that a commit, and changes
 *  that free space, can always be made. The fourth is a hint on disk (`nr_free` in docs/format.md), which nothing relies on.
 *
 *  Changes that need room for their commit are refused (#THINP_ENOSPC) before anything is changed. Some blocks are kept for
 *  changes that give back more than they take: see thinp_alloc::reserve.
 *
 *  One thread at a time uses a space map.
 */
#ifndef THINP_SPACE_MAP_H
#define THINP_SPACE_MAP_H

#include <thinp/alloc.h>
#include <thinp/op.h>
#include <thinp/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct thinp_sm; /* opaque: defined in src/space_map */

/** What happened to an operation. */
enum thinp_op_event {
	THINP_OP_ISSUED = 1,  /**< somebody asked for it */
	THINP_OP_QUEUED = 2,  /**< it waits, for counts are being recorded */
	THINP_OP_APPLIED = 3, /**< the counts have changed */
	THINP_OP_REFUSED = 4, /**< it cannot be applied, or came out of the queue in a wrong order: #THINP_EREFCOUNT */
};

/** Sees operations as they happen. Must not call the library.
 *
 *  @param ctx    the caller's own pointer
 *  @param sm     the map that the operation is for
 *  @param event  one of ::thinp_op_event
 *  @param op     the operation; valid during the call
 *  @param depth  how many steps of recording are open: 0 outside of a commit, and while a map is recorded that lives in
 *                blocks of another
 */
typedef void (*thinp_op_trace_fn)(void *ctx, const struct thinp_sm *sm, uint32_t event, const struct thinp_op *op,
				  uint32_t depth);

/** Told when available blocks have become few. Called when blocks have been taken, in the middle of what they were taken for;
 *  in a store with #THINP_STORE_LIVE, and in pools, at the end of that, with nothing locked. Must not change the map.
 *
 *  @param ctx           the caller's own pointer
 *  @param nr_available  how many are left
 */
typedef void (*thinp_sm_threshold_fn)(void *ctx, uint64_t nr_available);

/** What a space map holds. */
struct thinp_sm_info {
	size_t size;             /**< sizeof(struct thinp_sm_info), set by the caller */
	uint64_t nr_blocks;      /**< blocks counted, those of a growth in the open transaction included */
	uint64_t nr_zero;        /**< with count 0 */
	uint64_t nr_allocatable; /**< of these: not used by the last commit, not held by a view */
	uint64_t nr_available;   /**< of these: not kept back */
	uint64_t commit_cost;    /**< the most metadata blocks that recording this map may take now */
	uint64_t bytes;          /**< memory taken for counts */
	uint64_t nr_queued_most; /**< most operations that have ever waited */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_sm_info) == 64, "published layout, version 1");

/** The table through which a map's blocks are taken and counted.
 *
 *  @param sm          the map; must outlive whoever uses the table
 *  @param[out] alloc  the table; `size` set by the caller
 */
THINP_API void thinp_sm_get_alloc(struct thinp_sm *sm, struct thinp_alloc *alloc);

/** Take neighbouring blocks that nobody uses, neither now nor in the last commit nor in a view. Their counts become 1.
 *
 *  @param sm              the map
 *  @param nr_blocks       how many, at least 1
 *  @param[out] first      first block
 *  @param[out] nr_taken   how many neighbours were found: the longest run not far from where the last one ended, at most
 *                         @p nr_blocks; NULL: all of them or none
 *  @retval 0                 done
 *  @retval THINP_ENOSPC      no block is available, or no such run; nothing was changed
 *  @retval THINP_EINVAL      no blocks are wanted, or counts are being recorded; nothing was changed
 *  @retval THINP_ENOMEM      no memory; nothing was changed
 *  @retval THINP_EMUSTABORT  the queue has failed
 *  @return or a failure of the device: nothing was changed
 */
THINP_API int thinp_sm_take(struct thinp_sm *sm, uint64_t nr_blocks, uint64_t *first, uint64_t *nr_taken);

/** Raise the count of each of some neighbouring blocks.
 *
 *  @param sm         the map
 *  @param first      first block
 *  @param nr_blocks  how many
 *  @retval 0                done
 *  @retval THINP_EREFCOUNT  a count would pass 2^32-1; nothing was changed
 *  @retval THINP_ERANGE     beyond the end; nothing was changed
 *  @retval THINP_ENOSPC     a commit might not find room to record it, or free blocks of a metadata map are kept back: see
 *                           thinp_sm_take(); nothing was changed
 *  @retval THINP_EINVAL     counts are being recorded; nothing was changed
 *  @retval THINP_ENOMEM     no memory; nothing was changed
 *  @retval THINP_EMUSTABORT the queue has failed
 *  @return or a failure of the device: nothing was changed
 */
THINP_API int thinp_sm_inc(struct thinp_sm *sm, uint64_t first, uint64_t nr_blocks);

/** Lower the count of each of some neighbouring blocks.
 *
 *  @param sm         the map
 *  @param first      first block
 *  @param nr_blocks  how many
 *  @retval THINP_EREFCOUNT  a count is 0; nothing was changed
 *  @return or as thinp_sm_inc()
 */
THINP_API int thinp_sm_dec(struct thinp_sm *sm, uint64_t first, uint64_t nr_blocks);

/** The count of a block in the open transaction.
 *
 *  @param sm          the map
 *  @param block       the block
 *  @param[out] count  the number
 *  @retval 0             done
 *  @retval THINP_ERANGE  beyond the end
 *  @return or a failure of the device
 */
THINP_API int thinp_sm_count(struct thinp_sm *sm, uint64_t block, uint32_t *count);

/** Make the map longer. The new blocks are free, and can be taken at once.
 *
 *  @param sm         the map
 *  @param nr_blocks  the new length
 *  @retval 0             done
 *  @retval THINP_EINVAL  shorter than it is, or counts are being recorded; nothing was changed
 *  @retval THINP_ERANGE  longer than a map of its kind can be, or than its device; nothing was changed
 *  @retval THINP_ENOSPC  no room to record it without what is kept for changes that free space; nothing was changed
 *  @retval THINP_ENOMEM  no memory; nothing was changed
 */
THINP_API int thinp_sm_extend(struct thinp_sm *sm, uint64_t nr_blocks);

/** Copy out the figures.
 *
 *  @param sm            the map
 *  @param[in,out] info  `size` set by the caller; at most that many bytes are filled in
 */
THINP_API void thinp_sm_get_info(const struct thinp_sm *sm, struct thinp_sm_info *info);

/** Be told when available blocks become few: once when their number falls to the threshold, and again only after it has
 *  been above.
 *
 *  @param sm         the map
 *  @param threshold  the number
 *  @param fn         whom to tell; NULL: nobody any more
 *  @param ctx        handed to @p fn
 */
THINP_API void thinp_sm_set_threshold(struct thinp_sm *sm, uint64_t threshold, thinp_sm_threshold_fn fn, void *ctx);

/** Watch the operations.
 *
 *  @param sm   the map
 *  @param fn   who sees them; NULL: nobody any more
 *  @param ctx  handed to @p fn
 */
THINP_API void thinp_sm_set_trace(struct thinp_sm *sm, thinp_op_trace_fn fn, void *ctx);

#ifdef __cplusplus
}
#endif
#endif
