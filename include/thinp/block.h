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
 *
 *  Changing goes through the block manager itself, from thinp_bm_write_lock_zero() to thinp_bm_commit() or
 *  thinp_bm_abort(). One thread at a time calls these functions; readers, and thinp_bm_get_stats(), go on meanwhile.
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
struct thinp_buffer; /* opaque: defined in src/block */

#define THINP_BM_HUGE_PAGES 1u /**< flag: blocks in huge pages, past the allocator, where the system has some */

/** How to make a block manager. */
struct thinp_bm_opts {
	size_t size;                             /**< sizeof(struct thinp_bm_opts), set by the caller */
	uint32_t cache_blocks;                   /**< most blocks to keep; 0: 16384, which is 64 MiB */
	uint32_t flags;                          /**< THINP_BM_HUGE_PAGES */
	const struct thinp_allocator *allocator; /**< NULL: libc; must outlive the block manager */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_bm_opts) == 24, "published layout, version 1");

/** What a block manager has done so far, and what it holds. */
struct thinp_bm_stats {
	size_t size;         /**< sizeof(struct thinp_bm_stats), set by the caller */
	uint64_t hits;       /**< reads answered by the cache, by sections that have ended */
	uint64_t misses;     /**< reads that had to fetch their block */
	uint64_t prefetched; /**< blocks fetched ahead of a read, or with a neighbour */
	uint64_t evictions;  /**< blocks dropped to make room */
	uint64_t
		uncached; /**< reads that left nothing in the cache: no room or memory, or the block was being changed */
	uint64_t blocks_cached; /**< blocks in the cache now */
	uint64_t blocks_limit;  /**< most blocks the cache may hold, without the few that a writer has besides */
	uint64_t bytes;         /**< memory taken now: buffers, tables, and what look-ups have made of blocks */
	uint64_t blocks_dirty;  /**< changed blocks that are not on the device yet */
	uint64_t written;       /**< blocks written, commit records among them */
	uint64_t written_early; /**< of these, to make room, before a flush asked for it */
	uint64_t write_ops;     /**< operations they were written with: neighbours are written together */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_bm_stats) == 104, "published layout, version 1");

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

/** Release a block manager and its cache. No section and no reader may be left. Nothing is written: what was changed and
 *  not committed is lost.
 *
 *  @param bm  the block manager; NULL is allowed
 */
THINP_API void thinp_bm_destroy(struct thinp_bm *bm);

/** Copy out the figures. Any thread may ask at any time; figures that change meanwhile need not fit each other.
 *
 *  @param bm             the block manager
 *  @param[in,out] stats  `size` set by the caller; at most that many bytes are filled in
 */
THINP_API void thinp_bm_get_stats(struct thinp_bm *bm, struct thinp_bm_stats *stats);

/** Begin to change a block that is new in this transaction: its content is zeros, the device is not asked.
 *
 *  One thread at a time may change blocks, while any number of others read. A block that a reader can reach must not be
 *  changed: that is what makes reading without locks right. Changed blocks may be written to the device at any time
 *  before thinp_bm_flush() or thinp_bm_commit(), but not while they are locked. Address and checksum are filled in when a
 *  block is written; until then they are what the caller has put there.
 *
 *  What is locked or not written yet stays in the cache. When that leaves no buffer, the call writes what it may. Readers
 *  that stay in their sections hold back buffers, too, but they never stop a writer that has at most 8 blocks locked at a
 *  time: for that there are as many buffers besides the cache, which readers have only while they look at a block that is
 *  being changed. A writer with more locks waits for readers about a quarter of a second.
 *
 *  @param bm           the block manager
 *  @param block        address; what the cache had of it is forgotten
 *  @param type         the kind it will be; must live as long as the block manager
 *  @param[out] buffer  to be given to thinp_bm_unlock()
 *  @param[out] data    its 4096 bytes, valid until thinp_bm_unlock()
 *  @retval 0              done
 *  @retval THINP_EROFS    the device is read-only
 *  @retval THINP_ERANGE   beyond the end of the device
 *  @retval THINP_EINVAL   the block is locked already
 *  @retval THINP_ENOMEM   no memory, or all buffers are locked or held by readers, and 8 of them or more locked; nothing
 *                         was changed
 *  @retval THINP_EIO      the device does not tell its size: nothing was changed; or a block could not be written, now to
 *                         make room or earlier: the transaction can only be aborted
 *  @retval THINP_ENOSPC   no room for a write: as above
 *  @retval THINP_EUNKNOWN an earlier commit ended so; nothing can be changed any more
 *  @return or another code of thinp_io_batch() or thinp_io_size(), for example #THINP_EFORKED
 */
THINP_API int thinp_bm_write_lock_zero(struct thinp_bm *bm, thinp_block_t block, const struct thinp_block_type *type,
				       struct thinp_buffer **buffer, void **data);

/** Begin to change a block that was new in this transaction, once more.
 *
 *  @param bm           the block manager
 *  @param block        address
 *  @param type         the kind it must be
 *  @param[out] buffer  to be given to thinp_bm_unlock()
 *  @param[out] data    its 4096 bytes, valid until thinp_bm_unlock()
 *  @retval 0               done
 *  @retval THINP_ECORRUPT  it fails its check, read from the device or as another kind than it was before
 *  @retval THINP_EIO       it could not be read: nothing was changed; or as below
 *  @return or as thinp_bm_write_lock_zero()
 */
THINP_API int thinp_bm_write_lock(struct thinp_bm *bm, thinp_block_t block, const struct thinp_block_type *type,
				  struct thinp_buffer **buffer, void **data);

/** End the change of a block. From now on it may be written, and dropped from the cache once it is.
 *
 *  @param bm      the block manager
 *  @param buffer  what the lock gave; NULL is allowed
 */
THINP_API void thinp_bm_unlock(struct thinp_bm *bm, struct thinp_buffer *buffer);

/** Forget a block that was changed in this transaction and is not needed any more: it is not written, unless it was.
 *
 *  @param bm     the block manager
 *  @param block  address. One that the cache does not have is passed over; one that is locked is still to be unlocked
 */
THINP_API void thinp_bm_forget(struct thinp_bm *bm, thinp_block_t block);

/** Write all changed blocks and make them durable: sorted, neighbours together, in one batch unless they are many.
 *
 *  A failure of the device is remembered, also that of an early write: until thinp_bm_abort() every lock, flush and
 *  commit gives it again, and nothing is written.
 *
 *  @param bm  the block manager
 *  @retval 0              done
 *  @retval THINP_EINVAL   a block is still locked; nothing was done
 *  @retval THINP_EROFS    the device is read-only
 *  @retval THINP_EUNKNOWN an earlier commit ended so
 *  @retval THINP_EIO      a write or the flush failed
 *  @retval THINP_ENOSPC   no room for a write
 *  @retval THINP_ENOMEM   no memory; nothing was done, unless the device has none: that is remembered
 *  @return or another code of thinp_io_batch(), for example #THINP_ERANGE of a device that has become smaller
 */
THINP_API int thinp_bm_flush(struct thinp_bm *bm);

/** End a transaction: make all changed blocks durable, then write the commit record, then make that durable.
 *
 *  When anything before the record fails, the record is not written, and the device holds the last commit.
 *
 *  @param bm     the block manager
 *  @param block  address of the commit record, for example 0 for a superblock; written in place
 *  @param type   its kind; address and checksum are filled in on the way
 *  @param data   its 4096 bytes; borrowed for the call
 *  @retval 0              done
 *  @retval THINP_ERANGE   the record is beyond the end of the device
 *  @retval THINP_EUNKNOWN the record or the flush behind it failed: nobody knows which commit the device holds
 *  @return or as thinp_bm_flush(): abort
 */
THINP_API int thinp_bm_commit(struct thinp_bm *bm, thinp_block_t block, const struct thinp_block_type *type,
			      const void *data);

/** Abort a transaction: forget all blocks that were changed in it, and remembered failures but #THINP_EUNKNOWN.
 *
 *  What was written early stays on the device, in blocks that the last commit does not use. A block that is still locked
 *  is forgotten, too, but its bytes can be touched until it is unlocked.
 *
 *  @param bm  the block manager
 */
THINP_API void thinp_bm_abort(struct thinp_bm *bm);

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
 *  Where the cache has other blocks near it, neighbours are read with it, as long as the cache has room for them, and below the
 *  reader's limit. Failures of these are not told.
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
