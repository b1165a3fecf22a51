/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 *  @brief Where blocks come from: taking them and counting references to them, behind one table of functions.
 *
 *  A transaction needs blocks; who gives them, and where the counts are kept, is none of its business. Space maps on a
 *  device implement the table, and so does the map in memory of this header, which lets transactions and trees be used
 *  (and tested) without any space map.
 */
#ifndef THINP_ALLOC_H
#define THINP_ALLOC_H

#include <thinp/allocator.h>
#include <thinp/op.h>
#include <thinp/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/** For thinp_alloc::reserve: the change gives back more than it takes, and may use what is kept for such changes. */
#define THINP_RESERVE_RELEASE 1u

/** Gives blocks and counts references. All functions must be there. One thread at a time. A function that fails has changed
 *  nothing. */
struct thinp_alloc {
	size_t size; /**< sizeof(struct thinp_alloc), set by the caller */
	void *ctx;   /**< handed to all functions */
	/** Take a block that nobody uses, neither now nor in the last commit. Its count becomes 1.
	 *  @return 0, #THINP_ENOSPC, #THINP_ENOMEM, or a failure of the device */
	int (*take)(void *ctx, uint32_t cause, thinp_block_t *block);
	/** Raise the count of each of some neighbouring blocks.
	 *  @return 0, #THINP_EREFCOUNT at 2^32-1, #THINP_ERANGE beyond the end, #THINP_ENOMEM, or a failure of the device */
	int (*inc)(void *ctx, thinp_block_t first, uint64_t nr_blocks, uint32_t cause);
	/** Lower it. A block whose count becomes 0 is free, but not taken again before the commit if the last one uses it.
	 *  @return 0, #THINP_EREFCOUNT at 0, #THINP_ERANGE beyond the end, #THINP_ENOMEM, or a failure of the device */
	int (*dec)(void *ctx, thinp_block_t first, uint64_t nr_blocks, uint32_t cause);
	/** The count of a block, pending operations included.
	 *  @return 0, #THINP_ERANGE beyond the end, or a failure of the device */
	int (*count)(void *ctx, thinp_block_t block, uint32_t *count);
	/** Tell whether so many blocks can be taken, and a commit recorded after that. Changes nothing.
	 *  @return 0, #THINP_ENOSPC, #THINP_ENOTSUP for unknown flags, or a failure of the device */
	int (*reserve)(void *ctx, uint64_t nr_blocks, uint32_t flags);
	/** The most blocks that recording takes more when the counts of so many blocks, anywhere, are raised. Added to what is
	 *  reserved before a node is copied that others share, for its children get an owner more. NULL: none.
	 *  @return the number */
	uint64_t (*cost)(void *ctx, uint64_t nr_blocks);
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_alloc) == 64, "published layout, version 1");

struct thinp_memory_map; /* opaque: defined in src/alloc */

/** Make a map in memory, all of whose blocks are free.
 *
 *  @param nr_blocks  how many blocks it has
 *  @param allocator  NULL: libc; must outlive the map
 *  @param[out] map   the map
 *  @retval 0             done
 *  @retval THINP_ENOMEM  no memory
 *  @retval THINP_ENOTSUP the allocator asks for something newer than this library
 */
THINP_API int thinp_memory_map_create(uint64_t nr_blocks, const struct thinp_allocator *allocator,
				      struct thinp_memory_map **map);

/** Release a map.
 *
 *  @param map  the map; NULL is allowed
 */
THINP_API void thinp_memory_map_destroy(struct thinp_memory_map *map);

/** The table through which the map gives blocks. The search for a free one goes on where the last one ended, also behind a
 *  commit; an abort takes it back. Nothing is kept back for a commit or for changes that release.
 *
 *  @param map         the map; must outlive whoever uses the table
 *  @param[out] alloc  the table; `size` set by the caller
 */
THINP_API void thinp_memory_map_get_alloc(struct thinp_memory_map *map, struct thinp_alloc *alloc);

/** End a transaction: from now on the counts as they are now are those of the last commit.
 *
 *  @param map  the map
 */
THINP_API void thinp_memory_map_commit(struct thinp_memory_map *map);

/** Abort a transaction: all counts are as the last commit had them.
 *
 *  @param map  the map
 */
THINP_API void thinp_memory_map_abort(struct thinp_memory_map *map);

/** How many blocks have a count of 0.
 *
 *  @param map  the map
 *  @return the number
 */
THINP_API uint64_t thinp_memory_map_nr_zero(const struct thinp_memory_map *map);

#ifdef __cplusplus
}
#endif
#endif
