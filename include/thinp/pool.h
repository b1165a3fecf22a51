/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 *  @brief Thin pools: the metadata of Linux dm-thin. Reading.
 *
 *  A pool is opened on a device that holds its metadata. Everything is read from the last commit, or from the metadata
 *  snapshot when asked for. Nothing is written, and any number of threads may use one pool at once.
 *
 *  What the format forbids is refused with #THINP_ECORRUPT and thinp_error_last() names block and reason; what is only
 *  odd is told to the log callback and the work goes on.
 */
#ifndef THINP_POOL_H
#define THINP_POOL_H

#include <thinp/allocator.h>
#include <thinp/block.h>
#include <thinp/io.h>
#include <thinp/log.h>
#include <thinp/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct thinp_pool; /* opaque: defined in src/thin */

#define THINP_POOL_METADATA_SNAP 1u /**< flag: show the metadata snapshot in place of the last commit */

/** How to open a pool. */
struct thinp_pool_opts {
	size_t size;           /**< sizeof(struct thinp_pool_opts), set by the caller */
	uint32_t flags;        /**< THINP_POOL_METADATA_SNAP */
	uint32_t cache_blocks; /**< most metadata blocks to keep in memory; 0: 16384, which is 64 MiB */
	const struct thinp_allocator *allocator; /**< NULL: libc; must outlive the pool */
	thinp_log_fn log;                        /**< told what is odd; NULL: nobody */
	void *log_ctx;                           /**< handed to the log callback */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_pool_opts) == 40, "published layout, version 1");

#define THINP_POOL_NEEDS_CHECK 1u /**< in ::thinp_pool_info: the kernel has asked for a check of the metadata */

/** What the superblock says. Of a pool opened on its metadata snapshot: what the snapshot's says, but sizes, counts and
 *  the snapshot's address come from the live one, because a snapshot has none. */
struct thinp_pool_info {
	size_t size;                    /**< sizeof(struct thinp_pool_info), set by the caller */
	uint8_t uuid[16];               /**< all zero in every known pool */
	uint64_t transaction_id;        /**< a number for user space to keep in step with the pool */
	thinp_block_t metadata_snap;    /**< address of the metadata snapshot; 0: there is none */
	uint64_t nr_data_blocks;        /**< size of the data device in data blocks */
	uint64_t nr_data_allocated;     /**< data blocks in use */
	uint64_t nr_metadata_blocks;    /**< size of the metadata in blocks */
	uint64_t nr_metadata_allocated; /**< metadata blocks in use */
	thinp_block_t mapping_root;     /**< tree of two levels: device, virtual block; see docs/format.md */
	thinp_block_t details_root;     /**< tree of device details */
	uint32_t data_block_sectors;    /**< size of a data block in sectors */
	uint32_t version;               /**< of the format: 2, or 1 */
	uint32_t time;                  /**< snapshot clock */
	uint32_t flags;                 /**< THINP_POOL_NEEDS_CHECK; other bits as they stand in the superblock */
	uint32_t compat_flags;          /**< features that may be ignored */
	uint32_t compat_ro_flags;       /**< features that may be ignored when reading */
	uint32_t incompat_flags;        /**< features that must be understood: always 0, others are refused */
	uint32_t is_metadata_snap;      /**< 1: opened on the metadata snapshot */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_pool_info) == 120, "published layout, version 1");

/** What the pool keeps about a thin device. */
struct thinp_device_info {
	size_t size;                /**< sizeof(struct thinp_device_info), set by whoever makes the struct */
	uint64_t dev_id;            /**< the device */
	uint64_t mapped_blocks;     /**< number of its mappings, as recorded */
	uint64_t transaction_id;    /**< of the pool, when the device was created */
	thinp_block_t mapping_root; /**< its tree of mappings */
	uint32_t creation_time;     /**< snapshot clock when it was created */
	uint32_t snapshotted_time;  /**< snapshot clock when it was last snapshotted */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_device_info) == 48, "published layout, version 1");

/** Mappings in a row: virtual and data blocks both rise by one, the time is the same. */
struct thinp_run {
	uint64_t virtual_begin; /**< first block of the thin device */
	uint64_t data_begin;    /**< the data block it is mapped to */
	uint64_t length;        /**< how many blocks, at least 1 */
	uint32_t time;          /**< snapshot clock when the mappings were made */
	uint32_t reserved;      /**< 0 */
};
static_assert(sizeof(struct thinp_run) == 32, "published layout, version 1");

/** Which of the two space maps. */
enum thinp_pool_space {
	THINP_POOL_DATA = 1,     /**< counts of data blocks */
	THINP_POOL_METADATA = 2, /**< counts of metadata blocks */
};

/** Receives devices, ascending by id. May use the pool.
 *
 *  @param ctx     the caller's own pointer
 *  @param device  valid during the callback
 *  @return 0 to go on; anything else ends the walk, which returns it
 */
typedef int (*thinp_pool_device_fn)(void *ctx, const struct thinp_device_info *device);

/** Receives runs of mappings, some at a time, ascending by virtual block. May use the pool.
 *
 *  @param ctx      the caller's own pointer
 *  @param runs     valid during the callback
 *  @param nr_runs  at least 1
 *  @return 0 to go on; anything else ends the walk, which returns it
 */
typedef int (*thinp_pool_run_fn)(void *ctx, const struct thinp_run *runs, size_t nr_runs);

/** Receives a run of blocks with the same reference count. May use the pool.
 *
 *  @param ctx    the caller's own pointer
 *  @param begin  first block
 *  @param end    one behind the last block
 *  @param count  their reference count
 *  @return 0 to go on; anything else ends the walk, which returns it
 */
typedef int (*thinp_pool_count_fn)(void *ctx, uint64_t begin, uint64_t end, uint32_t count);

/** Open a pool for reading.
 *
 *  @param io         the metadata device; must outlive the pool
 *  @param opts       NULL: defaults
 *  @param[out] pool  the pool
 *  @retval 0                   done
 *  @retval THINP_EUNFORMATTED  the first block is all zero
 *  @retval THINP_ECORRUPT      no superblock of a thin pool, or one that makes no sense
 *  @retval THINP_ENOTSUP       the pool uses features that this library does not know
 *  @retval THINP_ENOENT        there is no metadata snapshot
 *  @retval THINP_EIO           the device failed
 *  @retval THINP_ENOMEM        no memory
 */
THINP_API int thinp_pool_open(struct thinp_io *io, const struct thinp_pool_opts *opts, struct thinp_pool **pool);

/** Close a pool. The device stays open.
 *
 *  @param pool  the pool; NULL is allowed. No other thread may use it any more
 */
THINP_API void thinp_pool_close(struct thinp_pool *pool);

/** Copy out what the superblock says.
 *
 *  @param pool          the pool
 *  @param[in,out] info  `size` set by the caller; at most that many bytes are filled in
 */
THINP_API void thinp_pool_get_info(const struct thinp_pool *pool, struct thinp_pool_info *info);

/** Copy out the figures of the pool's block cache.
 *
 *  @param pool           the pool
 *  @param[in,out] stats  `size` set by the caller; at most that many bytes are filled in
 */
THINP_API void thinp_pool_get_cache_stats(struct thinp_pool *pool, struct thinp_bm_stats *stats);

/** The reader of the pool's metadata, to look at its trees with thinp_btree_lookup() and the like.
 *
 *  @param pool  the pool
 *  @return the reader; it belongs to the pool
 */
THINP_API struct thinp_reader *thinp_pool_reader(struct thinp_pool *pool);

/** Tell about one device.
 *
 *  @param pool          the pool
 *  @param dev_id        the device
 *  @param[in,out] info  `size` set by the caller; at most that many bytes are filled in
 *  @retval 0               done
 *  @retval THINP_ENODATA   no such device
 *  @retval THINP_ECORRUPT  a block failed its check, or the device is known to one of the pool's two trees only
 *  @retval THINP_EIO       the device failed
 *  @retval THINP_ENOMEM    no memory
 */
THINP_API int thinp_pool_get_device(struct thinp_pool *pool, uint64_t dev_id, struct thinp_device_info *info);

/** Visit all devices.
 *
 *  @param pool  the pool
 *  @param fn    receives the devices
 *  @param ctx   handed to @p fn
 *  @return 0 at the end, what @p fn returned if not 0, or an error as thinp_pool_get_device()
 */
THINP_API int thinp_pool_walk_devices(struct thinp_pool *pool, thinp_pool_device_fn fn, void *ctx);

/** Visit the mappings of a device as longest runs. Metadata is fetched ahead.
 *
 *  @param pool           the pool
 *  @param dev_id         the device
 *  @param first_virtual  first virtual block of interest
 *  @param last_virtual   last one; UINT64_MAX: to the end
 *  @param fn             receives the runs, cut at both ends of the range
 *  @param ctx            handed to @p fn
 *  @return 0 at the end, what @p fn returned if not 0, or an error as thinp_pool_get_device()
 */
THINP_API int thinp_pool_walk_runs(struct thinp_pool *pool, uint64_t dev_id, uint64_t first_virtual,
				   uint64_t last_virtual, thinp_pool_run_fn fn, void *ctx);

/** Tell the reference count of a block.
 *
 *  @param pool        the pool
 *  @param space       which blocks, one of ::thinp_pool_space
 *  @param block       the block
 *  @param[out] count  how often it is referenced; 0: free
 *  @retval 0               done
 *  @retval THINP_ERANGE    no such block
 *  @retval THINP_EINVAL    no such space
 *  @retval THINP_ENOTSUP   the pool was opened on its metadata snapshot, which has no counts
 *  @retval THINP_ECORRUPT  a block failed its check
 *  @retval THINP_EIO       the device failed
 *  @retval THINP_ENOMEM    no memory
 */
THINP_API int thinp_pool_get_count(struct thinp_pool *pool, int space, uint64_t block, uint32_t *count);

/** Visit the reference counts of a range of blocks, as longest runs.
 *
 *  @param pool   the pool
 *  @param space  which blocks, one of ::thinp_pool_space
 *  @param begin  first block
 *  @param end    one behind the last block
 *  @param fn     receives the runs
 *  @param ctx    handed to @p fn
 *  @return 0 at the end, what @p fn returned if not 0, or an error as thinp_pool_get_count()
 */
THINP_API int thinp_pool_walk_counts(struct thinp_pool *pool, int space, uint64_t begin, uint64_t end,
				     thinp_pool_count_fn fn, void *ctx);

#ifdef __cplusplus
}
#endif
#endif
