/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 *  @brief The device under a store: one small interface, back-ends for memory, files and block devices, or a table of
 *         the caller's.
 *
 *  A device is an array of 4096-byte blocks. All work is handed over in *batches*: arrays of operations that may be
 *  carried out in any order, except that a FLUSH is a barrier. Two operations on one block between two flushes, or in
 *  batches of two threads, may therefore come in either order. A batch returns when all of it is done. Every handle may
 *  be used by several threads at once.
 */
#ifndef THINP_IO_H
#define THINP_IO_H

#include <thinp/allocator.h>
#include <thinp/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What an operation does. */
enum thinp_io_kind {
	THINP_IO_READ = 1,    /**< fill the buffer from the device */
	THINP_IO_WRITE = 2,   /**< bring the buffer to the device; durable only after a FLUSH */
	THINP_IO_DISCARD = 3, /**< the content is not needed any more; what it reads as afterwards is not defined */
	THINP_IO_FLUSH = 4,   /**< barrier: all writes before it, in this or earlier batches, become durable */
};

/** One operation of a batch. */
struct thinp_io_op {
	uint32_t kind;       /**< one of ::thinp_io_kind */
	int32_t result;      /**< set by the call: 0 or one of ::thinp_err */
	thinp_block_t block; /**< first block; ignored by FLUSH */
	uint64_t nr_blocks;  /**< number of blocks, at least 1; ignored by FLUSH */
	void *buffer;        /**< nr_blocks * 4096 bytes aligned to 4096; only READ changes them; else ignored */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_io_op) == 32, "published layout, version 1");

/** A piece of memory that transfers use again and again. */
struct thinp_io_buffer {
	void *begin;   /**< any address */
	size_t nbytes; /**< at least 1 */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_io_buffer) == 16, "published layout, version 1");

/** A back-end: the functions behind a device. All are called from several threads at once.
 *
 *  Each returns 0, one of ::thinp_err, or a negative errno (which is translated). The library has already checked
 *  ranges, alignment and read-only state when batch() is called.
 */
struct thinp_io_backend {
	size_t size;      /**< sizeof(struct thinp_io_backend), set by the caller */
	const char *name; /**< for messages, for example "file"; static text; NULL: "device" */
	/** Tell the device's size in blocks. Asked before every batch, so it should be quick. */
	int (*get_size)(void *ctx, uint64_t *nr_blocks);
	/** Carry out a batch (of at least one operation) and set the `result` of every operation: 0, a code or a
	 *  negative errno. Operations between two FLUSHes may run in any order. When one has failed, the next FLUSH and
	 *  all behind it must not be carried out, and get #THINP_ECANCELED; when a FLUSH itself has failed, all behind
	 *  it. Returns 0 or the first failure in the order of the array. */
	int (*batch)(void *ctx, struct thinp_io_op *ops, size_t nr_ops);
	/** Change the size. New blocks read as zeros. NULL: the device cannot change its size. */
	int (*resize)(void *ctx, uint64_t nr_blocks);
	/** Release everything. NULL: nothing to release. */
	void (*close)(void *ctx);
	/** Take these buffers, and those alone, for thinp_io_register_buffers(); none: forget them. The array may be
	 *  gone when the function returns. NULL: nothing is gained by knowing them. */
	int (*register_buffers)(void *ctx, const struct thinp_io_buffer *buffers, size_t nr_buffers);
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_io_backend) == 56, "published layout, version 1");

struct thinp_io; /* opaque: defined in src/io */

#define THINP_IO_READ_ONLY 1u /**< flag: refuse WRITE, DISCARD and changes of size with #THINP_EROFS */
#define THINP_IO_CREATE    2u /**< flag of files: create the file when it does not exist */
#define THINP_IO_EXCLUSIVE 4u /**< flag of block devices: refuse one in use for reading, too; implied by writing */
#define THINP_IO_ZEROS     8u /**< flag of files: new blocks are written, not only reserved; see thinp_io_open_file() */

/** Whether a file or block device is read and written past the page cache (O_DIRECT). */
enum thinp_io_direct {
	THINP_IO_DIRECT_AUTO = 0, /**< where it can be: block devices always, files when opened for writing */
	THINP_IO_DIRECT_ON = 1,   /**< direct, or the open fails with #THINP_ENOTSUP */
	THINP_IO_DIRECT_OFF = 2,  /**< through the page cache */
};

/** How to open a device. */
struct thinp_io_opts {
	size_t size;        /**< sizeof(struct thinp_io_opts), set by the caller */
	uint32_t flags;     /**< THINP_IO_READ_ONLY, THINP_IO_CREATE, THINP_IO_EXCLUSIVE, THINP_IO_ZEROS */
	uint32_t direct;    /**< one of ::thinp_io_direct; files and block devices */
	uint64_t nr_blocks; /**< memory: the size; else at least this size, a smaller file is grown; 0: as it is */
	uint64_t grow_step; /**< files: grow by multiples of this many blocks, from its size on; 0: exactly as asked */
	const struct thinp_allocator *allocator; /**< NULL: libc; must outlive the handle */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_io_opts) == 40, "published layout, version 1");

/** Make a device of the caller's own functions.
 *
 *  @param backend   the table; copied
 *  @param ctx       handed to every function of the table; owned by the device from now on, which gives it to close()
 *  @param opts      NULL: defaults. THINP_IO_READ_ONLY and the allocator are used
 *  @param[out] io   the device
 *  @retval 0              done
 *  @retval THINP_EINVAL   the table lacks get_size or batch, or flags contradict each other
 *  @retval THINP_ENOTSUP  the table or the options ask for something newer than this library
 *  @retval THINP_ENOMEM   no memory; @p ctx still belongs to the caller, as after every failure
 */
THINP_API int thinp_io_create(const struct thinp_io_backend *backend, void *ctx, const struct thinp_io_opts *opts,
			      struct thinp_io **io);

/** Make a device that lives in memory and is zero at first.
 *
 *  Memory is taken for blocks when they are first written, so that a write can fail with #THINP_ENOMEM, and given back
 *  when they are discarded. There is no volatile cache: a write is durable at once. Threads that use one block at the
 *  same time see the one or the other content of it, never a mixture.
 *
 *  @param opts      the size in `nr_blocks`, flags, allocator; NULL: no blocks, to be resized
 *  @param[out] io   the device
 *  @retval 0              done
 *  @retval THINP_ENOMEM   no memory
 *  @retval THINP_ERANGE   `nr_blocks` is beyond the limit
 *  @retval THINP_ENOTSUP  the options ask for something newer than this library
 */
THINP_API int thinp_io_open_memory(const struct thinp_io_opts *opts, struct thinp_io **io);

/** Open a file as a device.
 *
 *  The file is locked while it is open (an open file description lock): shared for readers, exclusive for a writer. It
 *  is closed on exec, and a handle carried over a fork refuses to work; the child may close it, which leaves the
 *  parent's handle and lock alone. A tail shorter than a block is not used, and reads as zeros when the file grows over
 *  it.
 *
 *  Blocks that the file grows by have room on the file system before the growth succeeds. With #THINP_IO_ZEROS they have
 *  been written, too, which takes as long as it takes. Without, a file system like ext4 notes for each block when it is
 *  written for the first time, and a small commit to such blocks takes a third longer. A file created here is
 *  durable, its name included, when the call returns, and is removed again when the call fails.
 *
 *  @param path      the file
 *  @param opts      NULL: existing file, for writing
 *  @param[out] io   the device
 *  @retval 0              done
 *  @retval THINP_ENOENT   no such file
 *  @retval THINP_EACCES   the system refuses
 *  @retval THINP_EROFS    the file system is read-only, or a file opened for reading would have to grow
 *  @retval THINP_EBUSY    somebody has it open in a way that excludes this one, or removed it in this moment
 *  @retval THINP_EINVAL   no path, or flags that contradict each other
 *  @retval THINP_ERANGE   `nr_blocks` is beyond the limit
 *  @retval THINP_ENOTSUP  it is no file, direct access is demanded where there is none, or the options ask for something
 *                         newer than this library
 *  @retval THINP_ENOSPC   no room to grow the file to `nr_blocks`
 *  @retval THINP_EIO      the system failed otherwise; see thinp_error_last()
 *  @retval THINP_ENOMEM   no memory
 */
THINP_API int thinp_io_open_file(const char *path, const struct thinp_io_opts *opts, struct thinp_io **io);

/** Open a block device as a device.
 *
 *  For writing, the device must not be in use: not mounted, not part of another device (a pool that runs), not opened
 *  so elsewhere. Readers may look at a device that is in use, unless they say #THINP_IO_EXCLUSIVE. Handles of this
 *  library keep a writer and readers of one device file apart, as those of a file.
 *
 *  Its size is asked for before every batch, so that a device that has grown is seen to be larger, and blocks of one
 *  that was made smaller are beyond the end. It cannot be resized from here. A rest smaller than a block is not used.
 *  Discards are passed on where the device can do them. Exec and fork are as for files.
 *
 *  @param path      the device file
 *  @param opts      NULL: for writing
 *  @param[out] io   the device
 *  @retval 0              done
 *  @retval THINP_ENOENT   no such device
 *  @retval THINP_EACCES   the system refuses, for example to write to a read-only device
 *  @retval THINP_EROFS    the system says that the device file is on a read-only file system
 *  @retval THINP_EBUSY    it is in use, or open elsewhere in a way that excludes this one
 *  @retval THINP_EINVAL   no path, or flags that contradict each other
 *  @retval THINP_ERANGE   `nr_blocks` is beyond the limit
 *  @retval THINP_ENOTSUP  it is no block device, has fewer than `nr_blocks` blocks, has sectors larger than a block
 *                         (which only matters for writing), cannot be used past the page cache although that is
 *                         demanded, or the options ask for something newer than this library
 *  @retval THINP_EIO      the system failed otherwise; see thinp_error_last()
 *  @retval THINP_ENOMEM   no memory
 */
THINP_API int thinp_io_open_device(const char *path, const struct thinp_io_opts *opts, struct thinp_io **io);

/** Open a file or a block device to be used by io_uring.
 *
 *  All that thinp_io_open_file() and thinp_io_open_device() say of locks, size, growth and direct access holds here, too.
 *  The difference is in the batch: what lies between two flushes is handed to the kernel in one call and runs side by
 *  side, and flushes are linked with what follows them, so that the kernel itself stops behind a write or flush that
 *  failed. It pays for scattered blocks past the page cache.
 *
 *  Threads share one ring and do not wait for each other's transfers. The kernel may do parts of the work, flushes
 *  above all, on threads of its own ("iou-wrk-..."), which it shows as threads of this process. No code of the library
 *  runs on them.
 *
 *  @param path      the file or device file
 *  @param opts      NULL: for writing
 *  @param[out] io   the device
 *  @retval 0              done
 *  @retval THINP_ENOTSUP  as for the other two; or io_uring cannot be had: this library was built without it, the kernel
 *                         has none or a too old one (before Linux 5.6), or it is forbidden here
 *  @return else as thinp_io_open_file() and thinp_io_open_device()
 */
THINP_API int thinp_io_open_uring(const char *path, const struct thinp_io_opts *opts, struct thinp_io **io);

/** Open a device by its name, as a command line gives it.
 *
 *      file:PATH     thinp_io_open_file()
 *      device:PATH   thinp_io_open_device()
 *      uring:PATH    thinp_io_open_uring()
 *      memory:       thinp_io_open_memory(), with the size of the options
 *      PATH          a block device where one is, else a file
 *
 *  A path that begins with one of these words can be given with its folder, as in "./file:PATH".
 *
 *  @param name      the name
 *  @param opts      as for the function that it leads to
 *  @param[out] io   the device
 *  @retval 0             done
 *  @retval THINP_EINVAL  no name, or something behind "memory:"
 *  @return else as the function that it leads to
 */
THINP_API int thinp_io_open(const char *name, const struct thinp_io_opts *opts, struct thinp_io **io);

/** Close a device. Nothing is flushed: what was not flushed before may be lost.
 *
 *  @param io  the device; NULL is allowed. No other thread may use it any more
 */
THINP_API void thinp_io_close(struct thinp_io *io);

/** The size in blocks.
 *
 *  @param io              the device
 *  @param[out] nr_blocks  its size
 *  @retval 0              done
 *  @retval THINP_EFORKED  the handle belongs to the parent process
 *  @retval THINP_EIO      the device failed
 */
THINP_API int thinp_io_size(struct thinp_io *io, uint64_t *nr_blocks);

/** Is the device read-only?
 *
 *  @param io  the device
 *  @return true when writes are refused
 */
THINP_API bool thinp_io_is_read_only(const struct thinp_io *io);

/** The name of the back-end, for messages.
 *
 *  @param io  the device
 *  @return text that lives as long as the device
 */
THINP_API const char *thinp_io_backend_name(const struct thinp_io *io);

/** Carry out a batch of operations.
 *
 *  The whole batch is checked before anything is done: when one operation is not valid, every other gets
 *  #THINP_ECANCELED; when the device does not tell its size, the first operation bears that failure in the same way. An
 *  error is told once, in the `result` of its operation, and the first one in the order of the array also as return
 *  value. When the device fails in the middle without saying where, every operation bears its failure.
 *  After a failed operation the next FLUSH and all that follows it is not carried out and gets #THINP_ECANCELED; after
 *  a failed FLUSH, all that follows it. What a failed operation left behind, on the device or in its buffer, is not
 *  defined. After a failed FLUSH that holds for every write since the last FLUSH that succeeded: write them again.
 *
 *  @param io      the device
 *  @param ops     the operations; their results are filled in
 *  @param nr_ops  how many; 0 is allowed
 *  @retval 0             all done
 *  @retval THINP_ERANGE  blocks beyond the end of the device; nothing was done
 *  @retval THINP_EINVAL  unknown kind, no blocks, or a buffer that is not aligned; nothing was done
 *  @retval THINP_EROFS   a change of a read-only device; nothing was done
 *  @retval THINP_EFORKED the handle belongs to the parent process; nothing was done
 *  @retval THINP_EIO     the device failed; the operations' results tell which
 *  @retval THINP_ENOSPC  no room for a write
 *  @retval THINP_ENOMEM  no memory for a write to a device in memory
 */
THINP_API int thinp_io_batch(struct thinp_io *io, struct thinp_io_op *ops, size_t nr_ops);

/** Read neighbouring blocks: a batch of one operation.
 *
 *  @param io         the device
 *  @param block      first block
 *  @param nr_blocks  how many
 *  @param buffer     @p nr_blocks * 4096 bytes, aligned to 4096
 *  @return as thinp_io_batch()
 */
THINP_API int thinp_io_read(struct thinp_io *io, thinp_block_t block, uint64_t nr_blocks, void *buffer);

/** Write neighbouring blocks: a batch of one operation. Durable after thinp_io_flush().
 *
 *  @param io         the device
 *  @param block      first block
 *  @param nr_blocks  how many
 *  @param buffer     @p nr_blocks * 4096 bytes, aligned to 4096
 *  @return as thinp_io_batch()
 */
THINP_API int thinp_io_write(struct thinp_io *io, thinp_block_t block, uint64_t nr_blocks, const void *buffer);

/** Make all completed writes durable: a batch of one operation.
 *
 *  @param io  the device
 *  @return as thinp_io_batch()
 */
THINP_API int thinp_io_flush(struct thinp_io *io);

/** Tell a device of memory that many transfers will use, so that it can prepare for it. It changes nothing but speed.
 *
 *  Replaces what was registered before; when it fails, nothing is registered. Where a back-end gains nothing by it,
 *  nothing is done. A transfer profits when its buffer, with the buffers of its neighbours when they lie side by side,
 *  is within one registered buffer.
 *
 *  The memory must stay mapped as it is until it is unregistered or the device is closed: the kernel keeps hold of its
 *  pages, and would go on using them when something else is mapped at their address. It may count as locked memory
 *  (RLIMIT_MEMLOCK). Not to be called while a batch is under way.
 *
 *  @param io          the device
 *  @param buffers     the memory, which stays the caller's; the array is copied
 *  @param nr_buffers  how many; 0 is thinp_io_unregister_buffers()
 *  @retval 0              done
 *  @retval THINP_EINVAL   no array, or a buffer of no address or size, or more than the system takes
 *  @retval THINP_ENOMEM   no memory, or more than may be locked
 *  @retval THINP_ENOTSUP  memory of a kind that the system does not take
 *  @retval THINP_EFORKED  the handle belongs to the parent process
 *  @retval THINP_EIO      the system failed otherwise
 */
THINP_API int thinp_io_register_buffers(struct thinp_io *io, const struct thinp_io_buffer *buffers, size_t nr_buffers);

/** Take back what thinp_io_register_buffers() said. Closing the device does it, too.
 *
 *  Not to be called while a batch is under way.
 *
 *  @param io  the device
 *  @retval 0              done, or nothing was registered
 *  @retval THINP_EFORKED  the handle belongs to the parent process
 *  @retval THINP_EIO      the system failed; the memory must stay as it is until the device is closed
 */
THINP_API int thinp_io_unregister_buffers(struct thinp_io *io);

/** Change the size of a device. New blocks read as zeros; blocks cut off are gone.
 *
 *  Not to be called while a batch is under way. When it has failed, ask thinp_io_size().
 *
 *  @param io         the device
 *  @param nr_blocks  the new size; a file with a growth step may become larger
 *  @retval 0              done
 *  @retval THINP_EROFS    the device is read-only
 *  @retval THINP_ENOTSUP  the device cannot change its size
 *  @retval THINP_ERANGE   the size is beyond the limit
 *  @retval THINP_ENOSPC   no room
 *  @retval THINP_EFORKED  the handle belongs to the parent process
 *  @retval THINP_EIO      the device failed
 *  @retval THINP_ENOMEM   no memory
 */
THINP_API int thinp_io_resize(struct thinp_io *io, uint64_t nr_blocks);

#ifdef __cplusplus
}
#endif
#endif
