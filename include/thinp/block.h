/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 *  @brief The block manager: a cache of checked blocks over a device, and readers that take no lock.
 *
 *  Reading goes through three objects. The *block manager* owns the cache and its memory. A *reader* is a window on it:
 *  which device, and which addresses may be asked for. A *read section* is one thread's short visit: between
 *  thinp_read_begin() and thinp_read_end() the pointers that it got stay valid as told below.
 *
 *  Blocks in the cache are found without a lock. A block that must be fetched takes a lock for a moment, never during
 *  the I/O: a reader that waits for its device delays nobody.
 */
#ifndef THINP_BLOCK_H
#define THINP_BLOCK_H

#include <thinp/allocator.h>
#include <thinp/format.h>
#include <thinp/io.h>
#include <thinp/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct thinp_bm;     /* opaque: defined in src/block */
struct thinp_reader; /* opaque: defined in src/block */

/** How to make a block manager. */
struct thinp_bm_opts {
	size_t size;                             /**< sizeof(struct thinp_bm_opts), set by the caller */
	uint32_t cache_blocks;                   /**< most blocks to keep; 0: 16384, which is 64 MiB */
	uint32_t flags;                          /**< 0 */
	const struct thinp_allocator *allocator; /**< NULL: libc; must outlive the block manager */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_bm_opts) == 24, "published layout, version 1");

/** What a block manager has done so far, and what it holds. */
struct thinp_bm_stats {
	size_t size;            /**< sizeof(struct thinp_bm_stats), set by the caller */
	uint64_t hits;          /**< reads answered by the cache, by sections that have ended */
	uint64_t misses;        /**< reads that had to fetch their block */
	uint64_t prefetched;    /**< blocks fetched ahead of a read */
	uint64_t evictions;     /**< blocks dropped to make room */
	uint64_t uncached;      /**< reads that the cache could not keep, for want of a buffer or of memory */
	uint64_t blocks_cached; /**< blocks in the cache now */
	uint64_t blocks_limit;  /**< most blocks the cache may hold */
	uint64_t bytes;         /**< memory taken now, buffers and tables together */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_bm_stats) == 72, "published layout, version 1");

/** One thread's visit. Lives on the caller's stack; its content belongs to the library. */
struct thinp_read_section {
	struct thinp_reader *reader; /**< private */
	void *slot;                  /**< private */
	void *held;                  /**< private */
	uint64_t hits;               /**< private */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_read_section) == 32, "published layout, version 1");

/** Make a block manager over a device.
 *
 *  @param io       the device; must outlive the block manager
 *  @param opts     NULL: defaults
 *  @param[out] bm  the block manager
 *  @retval 0              done
 *  @retval THINP_ENOMEM   no memory
 *  @retval THINP_ENOTSUP  the options ask for something newer than this library
 */
THINP_API int thinp_bm_create(struct thinp_io *io, const struct thinp_bm_opts *opts, struct thinp_bm **bm);

/** Release a block manager and its cache. No section and no reader may be left.
 *
 *  @param bm  the block manager; NULL is allowed
 */
THINP_API void thinp_bm_destroy(struct thinp_bm *bm);

/** Copy out the figures.
 *
 *  @param bm             the block manager
 *  @param[in,out] stats  `size` set by the caller; at most that many bytes are filled in
 */
THINP_API void thinp_bm_get_stats(struct thinp_bm *bm, struct thinp_bm_stats *stats);

/** Make a window on a block manager.
 *
 *  @param bm           the block manager; must outlive the reader
 *  @param nr_blocks    addresses from here on are refused as damage; 0: the size of the device
 *  @param[out] reader  the reader; any number of threads may use it at once
 *  @retval 0             done
 *  @retval THINP_ENOMEM  no memory
 *  @retval THINP_EIO     the device does not tell its size
 */
THINP_API int thinp_reader_create(struct thinp_bm *bm, uint64_t nr_blocks, struct thinp_reader **reader);

/** Release a reader. No section of it may be left.
 *
 *  @param reader  the reader; NULL is allowed
 */
THINP_API void thinp_reader_destroy(struct thinp_reader *reader);

/** How many addresses the reader lets through: 0 to this number less one.
 *
 *  @param reader  the reader
 *  @return the number of blocks
 */
THINP_API uint64_t thinp_reader_nr_blocks(const struct thinp_reader *reader);

/** Begin a section. Short ones are better: buffers that were dropped meanwhile are used again only after it ends.
 *
 *  @param reader        the reader
 *  @param[out] section  the section; one thread at a time
 */
THINP_API void thinp_read_begin(struct thinp_reader *reader, struct thinp_read_section *section);

/** Get a block if the cache has it, checked as the kind asked for. Never waits, never does I/O.
 *
 *  @param section  the section
 *  @param block    address
 *  @param type     the kind it must be
 *  @return its 4096 bytes, valid until the next thinp_read_block() of the section that is not answered by the cache, or
 *          the section's end; NULL when only thinp_read_block() can tell
 */
THINP_API const void *thinp_read_peek(struct thinp_read_section *section, thinp_block_t block,
				      const struct thinp_block_type *type);

/** Get a block, from the device if need be, checked as the kind asked for.
 *
 *  @param section    the section
 *  @param block      address
 *  @param type       the kind it must be
 *  @param[out] data  its 4096 bytes, valid until the next thinp_read_block() of the section or the section's end
 *  @retval 0               done
 *  @retval THINP_ECORRUPT  the address is beyond the reader's limit, or the block fails its check
 *  @retval THINP_EIO       the device failed
 *  @retval THINP_ENOMEM    no memory
 *  @return or another code of thinp_io_batch(), for example #THINP_EFORKED
 */
THINP_API int thinp_read_block(struct thinp_read_section *section, thinp_block_t block,
			       const struct thinp_block_type *type, const void **data);

/** End a section. Every pointer it gave becomes invalid.
 *
 *  @param section  the section
 */
THINP_API void thinp_read_end(struct thinp_read_section *section);

/** Fetch blocks that are likely to be read soon, in one batch of I/O. Only a hint: failures are not told, they come out
 *  when the block is read. Blocks already cached or out of range are passed over, and no more is fetched than a quarter
 *  of the cache. Not to be called inside a section of the same thread.
 *
 *  @param reader     the reader
 *  @param type       the kind they should be
 *  @param blocks     addresses, in any order
 *  @param nr_blocks  how many
 */
THINP_API void thinp_reader_prefetch(struct thinp_reader *reader, const struct thinp_block_type *type,
				     const thinp_block_t *blocks, size_t nr_blocks);

#ifdef __cplusplus
}
#endif
#endif
