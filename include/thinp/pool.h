/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 *  @brief Thin pools: the metadata of Linux dm-thin.
 *
 *  A pool is opened on a device that holds its metadata. Opened for reading, everything comes from the last commit, or
 *  from the metadata snapshot when asked for; nothing is written, and any number of threads may use one pool at once.
 *
 *  Opened with #THINP_POOL_WRITABLE, a pool can be changed in transactions, and is used by one thread at a time: the
 *  functions that read see the open transaction then, and the last commit when none is open. Other threads read it through
 *  thinp/pool_view.h meanwhile. After a crash at any moment
 *  the pool opens as the last commit or, when the crash came while one was being made, as that one. No function but
 *  thinp_pool_commit() commits.
 *
 *  The pool counts data blocks, and never touches them: whoever writes data blocks makes them durable before the commit
 *  that maps them, in thinp_pool_opts::pre_commit.
 *
 *  Most failures of a function that changes change nothing, and the transaction goes on. A failure half way marks it:
 *  thinp_pool_status() and every further change answer #THINP_EMUSTABORT until thinp_pool_abort().
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
#include <thinp/op_queue.h>
#include <thinp/space_map.h>
#include <thinp/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct thinp_pool; /* opaque: defined in src/thin */

#define THINP_POOL_METADATA_SNAP      1u  /**< flag: show the metadata snapshot in place of the last commit */
#define THINP_POOL_WRITABLE           2u  /**< flag: the pool is to be changed */
#define THINP_POOL_CREATE             4u  /**< flag: when block 0 is all zero, make an empty pool; with WRITABLE */
#define THINP_POOL_IGNORE_NEEDS_CHECK 8u  /**< flag: change the pool though it asks for a check; with WRITABLE */
#define THINP_POOL_QUEUE_ALWAYS       16u /**< flag: as #THINP_STORE_QUEUE_ALWAYS; with WRITABLE */
#define THINP_POOL_LIVE               32u /**< flag: others look at the open transaction: thinp/pool_view.h; with WRITABLE */

#define THINP_POOL_MAX_DEVICE ((UINT64_C(1) << 24) - 1) /**< largest id of a device that can be made */
#define THINP_POOL_MAX_TIME   ((UINT32_C(1) << 24) - 1) /**< where the snapshot clock stops */

/** How to open a pool. */
struct thinp_pool_opts {
	size_t size;           /**< sizeof(struct thinp_pool_opts), set by the caller */
	uint32_t flags;        /**< THINP_POOL_METADATA_SNAP, ... */
	uint32_t cache_blocks; /**< most metadata blocks to keep in memory; 0: 16384, which is 64 MiB */
	const struct thinp_allocator *allocator; /**< NULL: libc; must outlive the pool */
	thinp_log_fn log;                        /**< told what is odd; NULL: nobody */
	void *log_ctx;                           /**< handed to the log callback */
	/* The rest is for pools that are changed. */
	const struct thinp_opq_policy *op_queue_policy; /**< NULL: fifo */
	/** Called in each commit before anything of it is made durable: the place to flush the data device. NULL: none.
	 *  @return 0, or a code that ends the commit; the transaction stays open */
	int (*pre_commit)(void *ctx);
	void *pre_commit_ctx;        /**< handed to pre_commit() */
	uint64_t nr_data_blocks;     /**< of a new pool: size of the data device; of one that is there: what the data
				       *   device has now, which must not be less than the pool knows; 0: unknown */
	uint64_t nr_metadata_blocks; /**< of a new pool; 0: the size of the device */
	uint32_t data_block_sectors; /**< of a new pool: a multiple of 128 up to 2097152; 0: 128. Of one that is there:
				       *   must be what it has; 0: whatever it has */
	uint32_t
		counts_mib; /**< most memory for counts of data blocks, in MiB, when a change begins: two bytes hold one;
			      *   0: 64 */
	uint64_t view_limit_blocks; /**< as in ::thinp_store_opts */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_pool_opts) == 96, "published layout, version 1");

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

/** Open a pool, or make one. What is made is durable when the call returns.
 *
 *  @param io         the metadata device; must outlive the pool
 *  @param opts       NULL: defaults
 *  @param[out] pool  the pool; no transaction is open
 *  @retval 0                   done
 *  @retval THINP_EUNFORMATTED  the first block is all zero
 *  @retval THINP_ECORRUPT      no superblock of a thin pool, or one that makes no sense
 *  @retval THINP_ENOTSUP       the pool uses features that this library does not know
 *  @retval THINP_ENOENT        there is no metadata snapshot
 *  @retval THINP_ENEEDSCHECK   the pool asks for a check before it is changed
 *  @retval THINP_EINVAL        flags that exclude each other; data blocks of a size that a pool cannot have, or that
 *                              this one does not have; or one of the devices is smaller than the pool knows
 *  @retval THINP_EROFS         the device cannot be written
 *  @retval THINP_ENOSPC        the device is too small for a new pool
 *  @retval THINP_ERANGE        a new pool cannot count so many data blocks
 *  @retval THINP_EIO           the device failed
 *  @retval THINP_ENOMEM        no memory
 */
THINP_API int thinp_pool_open(struct thinp_io *io, const struct thinp_pool_opts *opts, struct thinp_pool **pool);

/** Open a pool by the name of its metadata device, or make one. The device is closed with the pool.
 *
 *  Opened for reading, the device is not written, and one that somebody may change meanwhile is refused, the device of a pool
 *  that runs above all, unless the metadata snapshot is asked for: that stays as it is.
 *
 *  With #THINP_POOL_CREATE, a file that is not there or is empty gets thinp_pool_opts::nr_metadata_blocks blocks. When making
 *  the pool fails after that, the file stays, all zero.
 *
 *  @param path       the name, as thinp_io_open() takes it: the path of a file or block device, perhaps with a word before it
 *  @param opts       NULL: defaults
 *  @param[out] pool  the pool; no transaction is open
 *  @retval 0            done
 *  @retval THINP_ENOENT no such file or device, and no size is given for a new one; or there is no metadata snapshot
 *  @retval THINP_EBUSY  somebody has it open in a way that excludes this one
 *  @return or as thinp_io_open(), thinp_io_resize(), thinp_pool_open()
 */
THINP_API int thinp_pool_open_path(const char *path, const struct thinp_pool_opts *opts, struct thinp_pool **pool);

/** Close a pool. An open transaction is aborted. The device stays open, unless thinp_pool_open_path() has opened it.
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
 *  Of a data block these are its mappings, each counted once however many devices share the leaf that it is in, and what
 *  somebody holds without a mapping. So 0 means that it is free, and more than 1 that it is shared; but a block with 1 may be
 *  shared, too: thinp_mapping::is_shared tells.
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

/** Visit the reference counts of a range of blocks, as longest runs. Of a pool that is being changed: those of the last
 *  commit.
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

/** A mapping as it is found. */
struct thinp_mapping {
	uint64_t data_block; /**< where the block is */
	uint32_t time;       /**< snapshot clock when it was mapped */
	uint32_t is_shared;  /**< 1: a snapshot may have it, too: copy before writing. Never 0 wrongly; it may be 1 when
			      *   the snapshot is gone */
};
static_assert(sizeof(struct thinp_mapping) == 16, "published layout, version 1");

/** Mapped blocks in a row: virtual and data blocks both rise by one, all or none are shared. */
struct thinp_mapped_run {
	uint64_t virtual_begin; /**< first block of the thin device */
	uint64_t data_begin;    /**< the data block it is mapped to */
	uint64_t length;        /**< how many blocks, at least 1 */
	uint32_t is_shared;     /**< as in ::thinp_mapping */
	uint32_t reserved;      /**< 0 */
};
static_assert(sizeof(struct thinp_mapped_run) == 32, "published layout, version 1");

/** Find a mapping.
 *
 *  @param pool           the pool
 *  @param dev_id         the device
 *  @param virtual_block  which block of it
 *  @param[out] mapping   where it is
 *  @retval 0              found
 *  @retval THINP_ENODATA  not mapped, or no such device; other errors as thinp_pool_get_device()
 */
THINP_API int thinp_pool_lookup(struct thinp_pool *pool, uint64_t dev_id, uint64_t virtual_block,
				struct thinp_mapping *mapping);

/** Find a mapping, if all that leads to it is in memory. Never waits for the device: for a thread that must not. When it is
 *  told that it is not known, another thread finds it by thinp_pool_lookup(), and then it is in memory for a while.
 *
 *  @param pool           the pool
 *  @param dev_id         the device
 *  @param virtual_block  which block of it
 *  @param[out] mapping   where it is
 *  @retval 0                 found
 *  @retval THINP_ENODATA     not mapped, or no such device
 *  @retval THINP_EWOULDBLOCK not known without the device
 *  @retval THINP_ECORRUPT    a block failed its check
 */
THINP_API int thinp_pool_lookup_cached(struct thinp_pool *pool, uint64_t dev_id, uint64_t virtual_block,
				       struct thinp_mapping *mapping);

/** Find the first mapped block in a range, and how far mappings go on from there in a row.
 *
 *  @param pool           the pool
 *  @param dev_id         the device
 *  @param first_virtual  first virtual block of interest
 *  @param last_virtual   last one; UINT64_MAX: to the end
 *  @param[out] run       the run, cut at the end of the range
 *  @retval 0              found
 *  @retval THINP_ENODATA  nothing is mapped there, or no such device; other errors as thinp_pool_get_device()
 */
THINP_API int thinp_pool_lookup_run(struct thinp_pool *pool, uint64_t dev_id, uint64_t first_virtual,
				    uint64_t last_virtual, struct thinp_mapped_run *run);

/** Find the last mapped block of a device.
 *
 *  @param pool                the pool
 *  @param dev_id              the device
 *  @param[out] virtual_block  the block
 *  @retval 0              found
 *  @retval THINP_ENODATA  nothing is mapped, or no such device; other errors as thinp_pool_get_device()
 */
THINP_API int thinp_pool_highest_mapped(struct thinp_pool *pool, uint64_t dev_id, uint64_t *virtual_block);

/** Tell how many blocks there are and how many are free. Of a pool opened for reading, only nr_blocks and nr_zero are told,
 *  the rest is 0.
 *
 *  @param pool          the pool
 *  @param space         which blocks, one of ::thinp_pool_space
 *  @param[in,out] info  `size` set by the caller; at most that many bytes are filled in
 *  @retval 0             done
 *  @retval THINP_EINVAL  no such space
 */
THINP_API int thinp_pool_get_space(struct thinp_pool *pool, int space, struct thinp_sm_info *info);

/** @name Transactions
 *  Every function from here on is for a pool opened with #THINP_POOL_WRITABLE. Beside its own codes each that changes
 *  answers
 *
 *  - #THINP_EROFS: the pool was opened for reading;
 *  - #THINP_EINVAL: no transaction is open;
 *  - #THINP_EMUSTABORT: an earlier change failed half way;
 *  - #THINP_ENOSPC: there might be no room for the change and its commit. Nothing was changed;
 *  - #THINP_ECORRUPT, #THINP_EIO, #THINP_ENOMEM: thinp_pool_status() tells whether the transaction can go on.
 *  @{ */

/** Begin a transaction.
 *
 *  @param pool  the pool
 *  @return as thinp_store_begin()
 */
THINP_API int thinp_pool_begin(struct thinp_pool *pool);

/** Make the changes of the open transaction durable, all of them or none. Without changes, nothing is written.
 *
 *  @param pool  the pool
 *  @return as thinp_store_commit()
 */
THINP_API int thinp_pool_commit(struct thinp_pool *pool);

/** Forget the changes of the open transaction, and end it. Without one, nothing is done.
 *
 *  @param pool  the pool
 *  @return as thinp_store_abort()
 */
THINP_API int thinp_pool_abort(struct thinp_pool *pool);

/** Tell whether the open transaction can go on.
 *
 *  @param pool  the pool
 *  @retval 0                 yes
 *  @retval THINP_EROFS       the pool was opened for reading
 *  @retval THINP_EINVAL      no transaction is open
 *  @retval THINP_EMUSTABORT  no: a change failed half way
 */
THINP_API int thinp_pool_status(const struct thinp_pool *pool);

/** Tell whether the open transaction has changed anything, so that a commit of it would write.
 *
 *  @param pool             the pool
 *  @param[out] is_changed  false: all is as in the last commit, or no transaction is open
 *  @retval 0            done
 *  @retval THINP_EROFS  the pool was opened for reading
 */
THINP_API int thinp_pool_is_changed(struct thinp_pool *pool, bool *is_changed);

/** Tell whether the open transaction has made a device, or touched its mappings or its details: whether who has been promised
 *  that the device is durable must wait for a commit.
 *
 *  @param pool             the pool
 *  @param dev_id           the device
 *  @param[out] is_changed  false: the device is as in the last commit. True may also be told when what was changed has been
 *                          changed back
 *  @retval 0            done
 *  @retval THINP_EROFS  the pool was opened for reading
 *  @return or as thinp_pool_get_device()
 */
THINP_API int thinp_pool_device_is_changed(struct thinp_pool *pool, uint64_t dev_id, bool *is_changed);

/** Set the number that user space keeps in step with the pool, if it is what the caller believes. Durable with the next
 *  commit.
 *
 *  @param pool  the pool
 *  @param from  what it is now
 *  @param to    what it is to be
 *  @retval 0             done
 *  @retval THINP_EINVAL  it is another number; nothing was changed
 */
THINP_API int thinp_pool_set_transaction_id(struct thinp_pool *pool, uint64_t from, uint64_t to);

/** Ask for a check of the metadata before the pool is opened for changes again, or say that it has been made. Durable with the
 *  next commit. The library never asks for a check by itself.
 *
 *  @param pool         the pool
 *  @param needs_check  what the superblock is to say
 *  @retval 0  done
 */
THINP_API int thinp_pool_set_needs_check(struct thinp_pool *pool, bool needs_check);

/** Be told when available blocks of a space become few: see thinp_sm_set_threshold().
 *
 *  @p fn is called at the end of the change that has taken the blocks, with nothing locked; a commit does not count. It may
 *  look at the pool, and must not change it.
 *
 *  @param pool       the pool
 *  @param space      which blocks, one of ::thinp_pool_space
 *  @param threshold  the number
 *  @param fn         whom to tell; NULL: nobody any more
 *  @param ctx        handed to @p fn
 *  @retval 0             done
 *  @retval THINP_EINVAL  no such space
 *  @retval THINP_EROFS   the pool was opened for reading
 */
THINP_API int thinp_pool_set_threshold(struct thinp_pool *pool, int space, uint64_t threshold, thinp_sm_threshold_fn fn,
				       void *ctx);

/** Watch the operations on reference counts of a space: see thinp_sm_set_trace().
 *
 *  @param pool   the pool
 *  @param space  which blocks, one of ::thinp_pool_space
 *  @param fn     who sees them; NULL: nobody any more
 *  @param ctx    handed to @p fn
 *  @retval 0             done
 *  @retval THINP_EINVAL  no such space
 *  @retval THINP_EROFS   the pool was opened for reading
 */
THINP_API int thinp_pool_set_trace(struct thinp_pool *pool, int space, thinp_op_trace_fn fn, void *ctx);

/** @}
 *  @name Devices
 *  @{ */

/** Make an empty device.
 *
 *  @param pool    the pool
 *  @param dev_id  its id, at most #THINP_POOL_MAX_DEVICE
 *  @retval 0             done
 *  @retval THINP_EEXIST  there is one; nothing was changed
 *  @retval THINP_ERANGE  no device can have this id; nothing was changed
 */
THINP_API int thinp_pool_create_device(struct thinp_pool *pool, uint64_t dev_id);

/** Make a device that begins with the mappings that another has now. Takes as long for a large one as for a small one.
 *
 *  @param pool       the pool
 *  @param dev_id     its id, at most #THINP_POOL_MAX_DEVICE
 *  @param origin_id  the other one; it may be a snapshot itself
 *  @retval 0              done
 *  @retval THINP_EEXIST   there is one; nothing was changed
 *  @retval THINP_ENODATA  there is no device @p origin_id; nothing was changed
 *  @retval THINP_ERANGE   no device can have this id, or the snapshot clock has stopped; nothing was changed
 */
THINP_API int thinp_pool_create_snapshot(struct thinp_pool *pool, uint64_t dev_id, uint64_t origin_id);

/** Delete a device. Data blocks that only it has mapped become free.
 *
 *  The whole of it goes in one transaction. When there is no room for that, see
 *  thinp_pool_delete_step() in thinp/pool_space.h.
 *
 *  @param pool    the pool
 *  @param dev_id  the device
 *  @retval 0              done
 *  @retval THINP_ENODATA  no such device; nothing was changed
 */
THINP_API int thinp_pool_delete_device(struct thinp_pool *pool, uint64_t dev_id);

/** @}
 *  @name Mappings
 *  @{ */

/** Map a block. The caller's reference to the data block moves into the mapping; what the block was mapped to before loses
 *  one, unless it is the same data block: then the caller is to have no reference, and only the time changes.
 *
 *  @param pool           the pool
 *  @param dev_id         the device
 *  @param virtual_block  which block of it
 *  @param data_block     where it is to be
 *  @retval 0              done
 *  @retval THINP_ENODATA  no such device; nothing was changed
 *  @retval THINP_ERANGE   no such data block; nothing was changed
 *  @retval THINP_EINVAL   the data block is free; nothing was changed
 */
THINP_API int thinp_pool_insert(struct thinp_pool *pool, uint64_t dev_id, uint64_t virtual_block, uint64_t data_block);

/** Map neighbouring blocks to neighbouring data blocks, as many as there is room for.
 *
 *  @param pool           the pool
 *  @param dev_id         the device
 *  @param virtual_begin  first block of it
 *  @param data_begin     where that one is to be
 *  @param length         how many
 *  @param[out] nr_done   how many are mapped, at least one: for these all is as with thinp_pool_insert(). When it is less
 *                        than @p length, there was no room for more
 *  @retval 0              done, as far as @p nr_done tells
 *  @retval THINP_EINVAL   no blocks are wanted, or more virtual blocks than there are; or as thinp_pool_insert()
 *  @return or as thinp_pool_insert()
 */
THINP_API int thinp_pool_insert_run(struct thinp_pool *pool, uint64_t dev_id, uint64_t virtual_begin,
				    uint64_t data_begin, uint64_t length, uint64_t *nr_done);

/** Take a mapping away. Its data block loses a reference.
 *
 *  @param pool           the pool
 *  @param dev_id         the device
 *  @param virtual_block  which block of it
 *  @retval 0              done
 *  @retval THINP_ENODATA  not mapped, or no such device; nothing was changed
 */
THINP_API int thinp_pool_remove(struct thinp_pool *pool, uint64_t dev_id, uint64_t virtual_block);

/** Take the mappings of a range away. Their data blocks lose a reference each. Who passes discards on asks
 *  thinp_pool_walk_runs() before which blocks these are, and thinp_pool_get_count() after which of them have come free. Those
 *  that the last commit has mapped are not taken again before the next one.
 *
 *  When there is no room for that, see thinp_pool_remove_step() in thinp/pool_space.h.
 *
 *  @param pool              the pool
 *  @param dev_id            the device
 *  @param first_virtual     first virtual block
 *  @param last_virtual      last one; UINT64_MAX: to the end
 *  @param max_leaves        stop after so many blocks of metadata, about 250 mappings each; 0: no limit
 *  @param[out] nr_removed   how many mappings are gone; NULL is allowed
 *  @param[out] is_complete  true: nothing of the range is left; NULL is allowed
 *  @retval 0              done, also when nothing was mapped
 *  @retval THINP_ENODATA  no such device; nothing was changed
 */
THINP_API int thinp_pool_remove_range(struct thinp_pool *pool, uint64_t dev_id, uint64_t first_virtual,
				      uint64_t last_virtual, uint32_t max_leaves, uint64_t *nr_removed,
				      bool *is_complete);

/** @}
 *  @name Data blocks
 *  @{ */

/** Take neighbouring free data blocks. Each has one reference then, which is the caller's: to be moved into a mapping, or
 *  dropped.
 *
 *  @param pool           the pool
 *  @param nr_blocks      how many
 *  @param[out] first     first block
 *  @param[out] nr_taken  how many neighbours were found, at most @p nr_blocks; NULL: all of them or none
 *  @return as thinp_sm_take()
 */
THINP_API int thinp_pool_alloc_data(struct thinp_pool *pool, uint64_t nr_blocks, uint64_t *first, uint64_t *nr_taken);

/** Add a reference to each of some neighbouring data blocks.
 *
 *  @param pool       the pool
 *  @param first      first block
 *  @param nr_blocks  how many
 *  @return as thinp_sm_inc()
 */
THINP_API int thinp_pool_inc_data(struct thinp_pool *pool, uint64_t first, uint64_t nr_blocks);

/** Drop a reference to each of some neighbouring data blocks. Without one left, they are free with the next commit.
 *
 *  @param pool       the pool
 *  @param first      first block
 *  @param nr_blocks  how many
 *  @return as thinp_sm_dec()
 */
THINP_API int thinp_pool_dec_data(struct thinp_pool *pool, uint64_t first, uint64_t nr_blocks);

/** @}
 *  @name The pool as a whole
 *  @{ */

/** Count more data blocks: the data device has grown.
 *
 *  @param pool       the pool
 *  @param nr_blocks  the new size
 *  @retval 0                  done
 *  @retval THINP_EINVAL       smaller than it is; nothing was changed
 *  @retval THINP_ERANGE       more than a pool can have; nothing was changed
 *  @retval THINP_ENEEDSCHECK  the pool asks for a check first; nothing was changed
 */
THINP_API int thinp_pool_grow_data(struct thinp_pool *pool, uint64_t nr_blocks);

/** Use more metadata blocks. The device grows at once, where it can and must.
 *
 *  @param pool       the pool
 *  @param nr_blocks  the new size
 *  @retval THINP_ENEEDSCHECK  the pool asks for a check first; nothing was changed
 *  @return or as thinp_store_grow()
 */
THINP_API int thinp_pool_grow_metadata(struct thinp_pool *pool, uint64_t nr_blocks);

/** Keep all devices as they are now, for others to read: see #THINP_POOL_METADATA_SNAP. There with the next commit.
 *
 *  @param pool  the pool
 *  @retval 0            done
 *  @retval THINP_EBUSY  there is a metadata snapshot; nothing was changed
 */
THINP_API int thinp_pool_reserve_metadata_snap(struct thinp_pool *pool);

/** Drop the metadata snapshot. When there is no room for that, see thinp_pool_release_step() in thinp/pool_space.h.
 *
 *  @param pool  the pool
 *  @retval 0             done
 *  @retval THINP_ENOENT  there is none; nothing was changed
 */
THINP_API int thinp_pool_release_metadata_snap(struct thinp_pool *pool);

/** @} */

#ifdef __cplusplus
}
#endif
#endif
