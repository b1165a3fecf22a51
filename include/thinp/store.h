/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 *  @brief Stores: trees that survive crashes, in a file or device of one's own, read by many threads while one writes.
 *
 *  A store ties together a device, a block cache, space maps and a transaction manager, and owns the one order of steps
 *  that makes a commit. After a crash at any moment, the store opens as the last commit or, when the crash came while one
 *  was being made, as that one.
 *
 *  What is in it is up to the user: 16 *roots*, each the address of a tree, an array or a block of a kind of one's own,
 *  and 256 bytes for anything else. All belong to the commit: they change together with it or not at all.
 *
 *  One thread at a time changes a store. Any number of threads read its last commits through *views*, and never wait.
 */
#ifndef THINP_STORE_H
#define THINP_STORE_H

#include <thinp/allocator.h>
#include <thinp/block.h>
#include <thinp/io.h>
#include <thinp/log.h>
#include <thinp/op_queue.h>
#include <thinp/space_map.h>
#include <thinp/transaction.h>
#include <thinp/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct thinp_store; /* opaque: defined in src/store */
struct thinp_view;  /* opaque: defined in src/store */

#define THINP_STORE_NR_ROOTS  16  /**< roots that belong to the user */
#define THINP_STORE_NR_MAPS   4   /**< data maps that a store can have */
#define THINP_STORE_USER_SIZE 256 /**< bytes that belong to the user */

#define THINP_STORE_READ_ONLY    1u  /**< flag: nothing is ever written */
#define THINP_STORE_CREATE       2u  /**< flag: a device that begins with 8 KiB of zeros becomes an empty store */
#define THINP_STORE_OVERWRITE    4u  /**< flag: whatever is there becomes an empty store */
#define THINP_STORE_HUGE_PAGES   8u  /**< flag: as #THINP_BM_HUGE_PAGES */
#define THINP_STORE_QUEUE_ALWAYS 16u /**< flag: every operation on counts waits in the queue, for study */
#define THINP_STORE_LIVE         32u /**< flag: other threads will look at the open transaction */

/** How to open a store. */
struct thinp_store_opts {
	size_t size;                                    /**< sizeof(struct thinp_store_opts), set by the caller */
	uint32_t flags;                                 /**< THINP_STORE_READ_ONLY, ... */
	uint32_t cache_blocks;                          /**< most blocks to keep in memory; 0: 16384, which is 64 MiB */
	uint64_t nr_blocks;                             /**< of a new store; 0: the size of the device */
	const struct thinp_allocator *allocator;        /**< NULL: libc; must outlive the store */
	const struct thinp_opq_policy *op_queue_policy; /**< NULL: fifo */
	thinp_log_fn log;                               /**< told what is odd; NULL: nobody */
	void *log_ctx;                                  /**< handed to the log callback */
	/** Called in each commit before anything of it is made durable: the place to flush a data device. NULL: none.
	 *  @return 0, or a code that ends the commit; the transaction stays open */
	int (*pre_commit)(void *ctx);
	void *pre_commit_ctx; /**< handed to pre_commit() */
	uint64_t
		view_limit_blocks; /**< when views hold back more freed blocks than this, the oldest becomes stale; 0: no
				     *   limit */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_store_opts) == 80, "published layout, version 1");

/** What a store holds. */
struct thinp_store_info {
	size_t size;             /**< sizeof(struct thinp_store_info), set by the caller */
	uint8_t uuid[16];        /**< made with the store */
	uint64_t commit;         /**< number of the last commit */
	uint64_t nr_blocks;      /**< blocks of the store, those of a growth in the open transaction included */
	uint64_t nr_available;   /**< blocks that can be taken: see thinp/space_map.h */
	uint64_t nr_views;       /**< views that are open, stale ones included */
	uint64_t oldest_commit;  /**< the oldest that a view holds; without views, the last one */
	uint64_t nr_held_blocks; /**< freed blocks that views hold back */
	uint32_t fell_back; /**< 1: at opening one of two commits could not be read, perhaps a newer one: see the log */
	uint32_t is_read_only; /**< 1: opened so */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_store_info) == 80, "published layout, version 1");

/** What a view shows, and what it costs. */
struct thinp_view_info {
	size_t size;             /**< sizeof(struct thinp_view_info), set by the caller */
	uint64_t commit;         /**< number of the commit that it shows */
	uint64_t nr_newer;       /**< commits made since */
	uint64_t nr_held_blocks; /**< freed blocks held back by this commit and all views of younger ones */
	uint32_t is_stale;       /**< 1: it had to give way; reading answers #THINP_ESTALE */
	uint32_t reserved;       /**< 0 */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_view_info) == 40, "published layout, version 1");

/** What a root is. */
enum thinp_root_kind {
	THINP_ROOT_TREE = 1,  /**< a tree of thinp/btree.h */
	THINP_ROOT_ARRAY = 2, /**< an array or a bitset of thinp/array.h */
};

/** What a root is, for thinp_view_copy(). */
struct thinp_copy_root {
	uint32_t index;      /**< which one, less than #THINP_STORE_NR_ROOTS */
	uint32_t kind;       /**< one of ::thinp_root_kind */
	uint32_t nr_levels;  /**< of a tree, as in struct thinp_btree_type; of an array 0 */
	uint32_t value_size; /**< of a tree, as in struct thinp_btree_type; of an array 0 */
};
static_assert(sizeof(struct thinp_copy_root) == 16, "published layout, version 1");

/** How to copy a view. */
struct thinp_copy_opts {
	size_t size;                         /**< sizeof(struct thinp_copy_opts), set by the caller */
	const struct thinp_copy_root *roots; /**< each root that is not 0, once */
	uint32_t nr_roots;                   /**< how many are described */
	uint32_t flags;                      /**< THINP_STORE_OVERWRITE, THINP_STORE_HUGE_PAGES */
	uint32_t cache_blocks;               /**< for the new store, as in struct thinp_store_opts */
	uint32_t reserved;                   /**< 0 */
	/** Called now and then. NULL: none. It may use the library, but not the device of the copy.
	 *  @param ctx        progress_ctx
	 *  @param nr_copied  so many blocks are done
	 *  @param nr_blocks  so many there are at most
	 *  @return 0 to go on; anything else ends the copy, which returns it */
	int (*progress)(void *ctx, uint64_t nr_copied, uint64_t nr_blocks);
	void *progress_ctx; /**< handed to progress() */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_copy_opts) == 48, "published layout, version 1");

/** Open a store, or make one.
 *
 *  @param io          the device; must outlive the store. One store per device
 *  @param opts        NULL: defaults
 *  @param[out] store  the store; no transaction is open
 *  @retval 0                   done
 *  @retval THINP_EUNFORMATTED  there is none, and the options do not ask for a new one
 *  @retval THINP_ECORRUPT      what is there is not a store, or damaged; or the device is smaller than it (it can be opened
 *                              read-only then)
 *  @retval THINP_ENOTSUP       it uses features that this library does not know, in any of its commits; or the options do
 *  @retval THINP_EROFS         the device cannot be written; open the store read-only
 *  @retval THINP_ENOSPC        the device is too small for a store
 *  @retval THINP_EIO           the device failed. When only one of the two commits cannot be read, the store can be opened
 *                              read-only, and shows the other one: see thinp_store_info::fell_back. It may be the older
 *                              one, so a commit could be written over the last one: whatever is to be kept
 *                              can be had by thinp_view_copy()
 *  @retval THINP_ENOMEM        no memory
 */
THINP_API int thinp_store_open(struct thinp_io *io, const struct thinp_store_opts *opts, struct thinp_store **store);

/** Release a store. An open transaction is aborted. No view may be left. Nothing is written.
 *
 *  @param store  the store; NULL is allowed
 */
THINP_API void thinp_store_close(struct thinp_store *store);

/** Begin a transaction: from now on the store can be changed, by one thread at a time.
 *
 *  @param store  the store
 *  @retval 0               done
 *  @retval THINP_EBUSY     one is open already
 *  @retval THINP_EROFS     the store was opened read-only
 *  @retval THINP_EUNKNOWN  an earlier commit ended so; only reading and closing are left
 *  @retval THINP_ESTALE    somebody else has written to the device, as an earlier commit or change found: as above
 *  @retval THINP_EIO       an earlier abort failed: as above
 */
THINP_API int thinp_store_begin(struct thinp_store *store);

/** Make the changes of the open transaction durable, all of them or none. Without changes, nothing is written.
 *
 *  @param store  the store
 *  @retval 0                 done; the transaction has ended
 *  @retval THINP_EINVAL      no transaction is open
 *  @retval THINP_EREFCOUNT   operations on counts were lost, invented or reordered
 *  @retval THINP_EMUSTABORT  an earlier change failed half way
 *  @retval THINP_EIO         the device failed
 *  @retval THINP_EUNKNOWN    it failed in the last step: the device holds this commit or the last one. The transaction has
 *                            ended, views stay as they are, only reading and closing are left
 *  @retval THINP_ESTALE      somebody else has written to the device; nothing was written over it. As above
 *  @retval THINP_ENOMEM      no memory
 *  @return 0, one of these, or what the pre-commit hook returned. But for the two that end everything, the device holds the
 *          last commit; after the hook's failure the transaction is as it was, after any other it can only be aborted
 */
THINP_API int thinp_store_commit(struct thinp_store *store);

/** Forget the changes of the open transaction, and end it. Without one, nothing is done.
 *
 *  @param store  the store
 *  @retval 0             done
 *  @retval THINP_EIO     the last commit cannot be read any more; only closing is left
 *  @retval THINP_ENOMEM  no memory: as above
 */
THINP_API int thinp_store_abort(struct thinp_store *store);

/** The transaction manager, for changing trees and arrays while a transaction is open. At other times every change answers
 *  #THINP_EMUSTABORT.
 *
 *  @param store  the store
 *  @return the transaction manager; NULL when the store is read-only
 */
THINP_API struct thinp_tm *thinp_store_tm(struct thinp_store *store);

/** Get a root as the open transaction has it; without one, as the last commit has it.
 *
 *  @param store      the store
 *  @param index      which one, less than #THINP_STORE_NR_ROOTS
 *  @param[out] root  its block; 0: none
 *  @retval 0             done
 *  @retval THINP_EINVAL  no such root
 */
THINP_API int thinp_store_get_root(const struct thinp_store *store, uint32_t index, thinp_block_t *root);

/** Set a root. The caller's reference to the block moves into the store; the one to what the root was before is the
 *  caller's to use up: trees that are changed take it over.
 *
 *  @param store  the store
 *  @param index  which one, less than #THINP_STORE_NR_ROOTS
 *  @param root   its block; 0: none
 *  @retval 0                 done
 *  @retval THINP_EINVAL      no such root, no block of the store, or no transaction is open
 *  @retval THINP_EMUSTABORT  an earlier change failed half way
 */
THINP_API int thinp_store_set_root(struct thinp_store *store, uint32_t index, thinp_block_t root);

/** Get the user's bytes as the open transaction has them; without one, as the last commit has them.
 *
 *  @param store       the store
 *  @param[out] bytes  #THINP_STORE_USER_SIZE bytes
 */
THINP_API void thinp_store_get_user(const struct thinp_store *store, void *bytes);

/** Set the user's bytes.
 *
 *  @param store  the store
 *  @param bytes  #THINP_STORE_USER_SIZE bytes
 *  @retval 0                 done
 *  @retval THINP_EINVAL      no transaction is open
 *  @retval THINP_EMUSTABORT  an earlier change failed half way
 */
THINP_API int thinp_store_set_user(struct thinp_store *store, const void *bytes);

/** Make a data map: counts for the blocks of some other device.
 *
 *  @param store      the store
 *  @param index      which one, less than #THINP_STORE_NR_MAPS; must not be there yet
 *  @param nr_blocks  how many blocks it counts, at least 1; all are free
 *  @retval 0                 done
 *  @retval THINP_EINVAL      no such map, it is there already, no blocks, or no transaction is open
 *  @retval THINP_EMUSTABORT  an earlier change failed half way
 *  @retval THINP_ERANGE      more blocks than a map can count
 *  @retval THINP_ENOSPC      no room for it; nothing was changed
 *  @retval THINP_ENOMEM      no memory; nothing was changed
 */
THINP_API int thinp_store_add_map(struct thinp_store *store, uint32_t index, uint64_t nr_blocks);

/** A data map.
 *
 *  @param store  the store
 *  @param index  which one
 *  @return the map, to be changed while a transaction is open only; NULL when there is none, or the store is read-only
 */
THINP_API struct thinp_sm *thinp_store_map(struct thinp_store *store, uint32_t index);

/** The map of the store's own blocks, for its figures, its trace and its threshold.
 *
 *  @param store  the store
 *  @return the map; NULL when the store is read-only
 */
THINP_API struct thinp_sm *thinp_store_metadata_map(struct thinp_store *store);

/** Make a store larger. The device grows at once, where it can; the new blocks can be taken at once, and belong to the
 *  store with the commit.
 *
 *  @param store      the store
 *  @param nr_blocks  the new size
 *  @retval 0                 done
 *  @retval THINP_EINVAL      smaller than it is, or no transaction is open; nothing was changed
 *  @retval THINP_EMUSTABORT  an earlier change failed half way
 *  @retval THINP_ERANGE      larger than a store can be; nothing was changed
 *  @retval THINP_ENOTSUP     the device cannot grow; nothing was changed
 *  @retval THINP_ENOSPC      no room for the device to grow; nothing was changed
 *  @return or as thinp_sm_extend()
 */
THINP_API int thinp_store_grow(struct thinp_store *store, uint64_t nr_blocks);

/** Copy out the figures, on the thread that changes the store.
 *
 *  @param store         the store
 *  @param[in,out] info  `size` set by the caller; at most that many bytes are filled in
 */
THINP_API void thinp_store_get_info(struct thinp_store *store, struct thinp_store_info *info);

/** Begin to look at the open transaction, or, when none is open, at the last commit, from any thread but one that changes
 *  the store at the moment. The store must have been opened with #THINP_STORE_LIVE.
 *
 *  Nothing changes until thinp_store_live_end(): any number of threads may look at once, and changes wait for them. That is
 *  every call that changes something through the transaction manager, with begin, commit and abort, but not with what the
 *  pre-commit hook does. They come by turns: a change waits for those who were there before it, and who comes later waits for
 *  that change. So neither side keeps the other out; but who need not see the open transaction better takes a view.
 *
 *  A thread ends one look before it begins another or changes anything. What the reader gave is valid until the end;
 *  thinp_store_get_root() and thinp_store_get_user() may be called meanwhile.
 *
 *  @param store        the store
 *  @param[out] reader  what the trees and arrays are read through; the store owns it
 *  @retval 0                 done
 *  @retval THINP_EINVAL      the store was opened without the flag
 *  @retval THINP_EMUSTABORT  a change failed half way: there may be nothing whole to look at before the abort
 *  @retval THINP_EUNKNOWN    an earlier commit ended so; views go on
 *  @retval THINP_ESTALE      somebody else has written to the device: as above
 *  @retval THINP_EIO         an earlier abort failed: as above
 */
THINP_API int thinp_store_live_begin(struct thinp_store *store, struct thinp_reader **reader);

/** End what thinp_store_live_begin() began.
 *
 *  @param store  the store
 */
THINP_API void thinp_store_live_end(struct thinp_store *store);

/** Begin changes that those who look with thinp_store_live_begin() see together. A change of a tree and the
 *  thinp_store_set_root() that follows belong together: in between, the root that the store has may be no tree any more.
 *
 *  May be called again before thinp_store_change_end(), which must be called as often. Without #THINP_STORE_LIVE it costs and
 *  does nothing.
 *
 *  @param store  the store; on the thread that changes it
 */
THINP_API void thinp_store_change_begin(struct thinp_store *store);

/** End what thinp_store_change_begin() began.
 *
 *  @param store  the store
 */
THINP_API void thinp_store_change_end(struct thinp_store *store);

/** Open a view of the last commit. From any thread, also while a transaction is open. As long as the view is, what it
 *  shows stays as it is, and costs the space that later commits would otherwise use again.
 *
 *  @param store      the store; must outlive the view
 *  @param[out] view  the view; any number of threads may use it at once
 *  @retval 0             done
 *  @retval THINP_ENOMEM  no memory
 *  @retval THINP_EIO     the device does not tell its size
 */
THINP_API int thinp_view_open(struct thinp_store *store, struct thinp_view **view);

/** Release a view. From any thread; nobody may be using it.
 *
 *  @param view  the view; NULL is allowed
 */
THINP_API void thinp_view_close(struct thinp_view *view);

/** The reader through which the view's trees and arrays are read. Once the view is stale, every read answers #THINP_ESTALE.
 *
 *  @param view  the view, which owns it
 *  @return the reader
 */
THINP_API struct thinp_reader *thinp_view_reader(struct thinp_view *view);

/** Get a root of the view's commit.
 *
 *  @param view       the view
 *  @param index      which one, less than #THINP_STORE_NR_ROOTS
 *  @param[out] root  its block; 0: none
 *  @retval 0             done
 *  @retval THINP_EINVAL  no such root
 */
THINP_API int thinp_view_get_root(const struct thinp_view *view, uint32_t index, thinp_block_t *root);

/** Get the user's bytes of the view's commit.
 *
 *  @param view        the view
 *  @param[out] bytes  #THINP_STORE_USER_SIZE bytes
 */
THINP_API void thinp_view_get_user(const struct thinp_view *view, void *bytes);

/** The count of a block of a data map in the view's commit.
 *
 *  @param view        the view
 *  @param index       which map
 *  @param block       the block
 *  @param[out] count  the number
 *  @retval 0               done
 *  @retval THINP_EINVAL    there is no such map
 *  @retval THINP_ERANGE    beyond its end
 *  @retval THINP_ESTALE    the view had to give way
 *  @retval THINP_ECORRUPT  a block failed its check
 *  @retval THINP_EIO       the device failed
 *  @retval THINP_ENOMEM    no memory
 */
THINP_API int thinp_view_count(struct thinp_view *view, uint32_t index, uint64_t block, uint32_t *count);

/** Copy what a view shows to another device, as a store of its own, while the one it is from goes on. It has the same roots,
 *  user's bytes and data maps, a name and commits of its own; blocks that nothing in the view needs are left behind, and the
 *  others lie side by side. What several trees share they share in the copy, too.
 *
 *  The blocks of trees and arrays move, so values of the user's own that are addresses of the store's blocks lose their meaning.
 *  Memory: 4 bytes for each block of the store, besides the cache of the new one.
 *
 *  @param view  the view
 *  @param io    the device; nobody else uses it during the call, and no store on it is left open
 *  @param opts  what the roots are; NULL when there are none
 *  @retval 0               done, and durable
 *  @retval THINP_EINVAL    a root is not described, or wrongly, or the device holds something and the options do not
 *                          say that it may be overwritten; nothing was changed.
 *  @retval THINP_ENOTSUP   the store has no format of ours, or the options ask for something unknown; nothing was changed
 *  @retval THINP_ENOSPC    the device is too small
 *  @retval THINP_ECORRUPT  a block failed its check, or is not what its root is described to be
 *  @retval THINP_ESTALE    the view had to give way
 *  @retval THINP_EUNKNOWN  the last step failed: what is on the device is the copy, or an empty store
 *  @retval THINP_EIO       a device failed
 *  @retval THINP_ENOMEM    no memory
 *  @return or what progress() returned, or another code of thinp_store_open() or thinp_store_commit(). After a failure the
 *          device holds no store, if it can still be written; after a crash, an empty one may be left
 */
THINP_API int thinp_view_copy(struct thinp_view *view, struct thinp_io *io, const struct thinp_copy_opts *opts);

/** Copy out what a view shows and costs. From any thread.
 *
 *  @param view          the view
 *  @param[in,out] info  `size` set by the caller; at most that many bytes are filled in
 */
THINP_API void thinp_view_get_info(struct thinp_view *view, struct thinp_view_info *info);

#ifdef __cplusplus
}
#endif
#endif
