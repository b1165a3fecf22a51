/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 *  @brief Copy-on-write B+ trees: 64-bit keys, values of one fixed size.
 *
 *  A tree is the block number of its root, not an object. Reading takes a reader; changing takes an open transaction and
 *  gives back a new root. Whoever adds a reference to a root with thinp_tm_inc() has a snapshot: the tree as it is now
 *  stays, whatever is changed afterwards, and shares with the changed one all that is the same in both.
 *
 *  Trees can be *nested*: the values of a tree of the first level are the roots of trees of the second level, and so
 *  on; the trees of the last level hold the payload. A nested tree of n levels is used like one ordered map whose keys
 *  are tuples of n numbers, compared from the left. Wherever a function takes `keys`, it takes nr_levels numbers.
 *
 *  No reserved keys: all numbers from 0 to 2^64-1 are ordinary ones. That is why ranges are given by their first and
 *  last key here, and not half-open.
 *
 *  Damage is answered with #THINP_ECORRUPT, and thinp_error_last() names block and reason. Cycles, wrong depths, keys
 *  outside of what the parent promises and nodes of another kind of tree are damage. The time for a
 *  tree is bounded by the number of blocks (of a nested one: for each tree in it), memory is constant.
 *
 *  Any number of threads may read one tree at once. A cursor belongs to one thread at a time.
 */
#ifndef THINP_BTREE_H
#define THINP_BTREE_H

#include <thinp/block.h>
#include <thinp/transaction.h>
#include <thinp/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define THINP_BTREE_MAX_LEVELS 4  /**< most levels of a nested tree */
#define THINP_BTREE_MAX_DEPTH  15 /**< most nodes on the way from a root to a leaf of one level */

/** What kind of tree it is. */
struct thinp_btree_type {
	size_t size;         /**< sizeof(struct thinp_btree_type), set by the caller */
	uint32_t nr_levels;  /**< 1 for a plain tree, at most #THINP_BTREE_MAX_LEVELS */
	uint32_t value_size; /**< bytes of a value in the last level; those of the levels above are 8 bytes */
	/* For changing only; all may be NULL: values are then plain numbers. The functions may use the transaction's
	 * counts and any space map, but must not change trees. A failure makes the transaction one to be aborted. */
	void *ctx; /**< handed to all functions */
	/** A leaf with these values was copied, and the original stays: each value has one more owner.
	 *  @return 0, or a code */
	int (*inc)(void *ctx, const void *values_le, size_t nr_values);
	/** These values were removed, or overwritten, or died with their leaf: each has one owner less.
	 *  @return 0, or a code */
	int (*dec)(void *ctx, const void *values_le, size_t nr_values);
	/** Tell whether a new value stands for the same thing as the old one that it overwrites; then dec() is not called
	 *  for the old one. NULL: never the same. */
	bool (*equal)(void *ctx, const void *a_le, const void *b_le);
	/** The most metadata blocks that recording the counts of nr_values values may take, for inc() and dec(); asked
	 *  before a change begins. NULL: 0. */
	uint64_t (*cost)(void *ctx, size_t nr_values);
	/** The same for dec() alone. NULL: as cost(). */
	uint64_t (*cost_of_dec)(void *ctx, size_t nr_values);
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_btree_type) == 64, "published layout, version 1");

/** Neighbouring entries of one leaf, as they stand on the disk. Valid during the callback. */
struct thinp_btree_span {
	size_t size;            /**< sizeof(struct thinp_btree_span), set by the library */
	const uint64_t *prefix; /**< keys of the upper levels, nr_levels - 1 of them */
	const void *keys_le;    /**< nr_entries keys, 64 bits little-endian, ascending */
	const void *values_le;  /**< nr_entries values in on-disk form */
	uint32_t nr_entries;    /**< at least 1 */
	uint32_t value_size;    /**< bytes of a value */
	thinp_block_t block;    /**< the leaf they are from */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_btree_span) == 48, "published layout, version 1");

/** Receives the entries of a tree in order, a leaf at a time. May call the library.
 *
 *  @param ctx   the caller's own pointer
 *  @param span  the entries
 *  @return 0 to go on; anything else ends the walk, which returns it
 */
typedef int (*thinp_btree_span_fn)(void *ctx, const struct thinp_btree_span *span);

struct thinp_btree_cursor; /* opaque: defined in src/btree */

/** Find the value of a key.
 *
 *  @param reader         where to read
 *  @param type           what the tree is; borrowed for the call
 *  @param root           the tree
 *  @param keys           one key for each level
 *  @param[out] value_le  the value in on-disk form; NULL: only tell whether there is one
 *  @retval 0               found
 *  @retval THINP_ENODATA   no such key
 *  @retval THINP_ECORRUPT  a node failed its check
 *  @retval THINP_EINVAL    the type is not one a tree can have
 *  @retval THINP_EIO       the device failed
 *  @retval THINP_ENOMEM    no memory
 */
THINP_API int thinp_btree_lookup(struct thinp_reader *reader, const struct thinp_btree_type *type, thinp_block_t root,
				 const uint64_t *keys, void *value_le);

/** Find the value of a key, if all nodes on the way to it are in memory. Never waits for the device: what is not known is
 *  told as that, and never as absent. thinp_btree_lookup(), on a thread that may wait, finds it, and leaves the way in
 *  memory.
 *
 *  @param reader         where to read
 *  @param type           what the tree is; borrowed for the call
 *  @param root           the tree
 *  @param keys           one key for each level
 *  @param[out] value_le  the value in on-disk form; NULL: only tell whether there is one
 *  @retval 0                 found
 *  @retval THINP_ENODATA     no such key
 *  @retval THINP_EWOULDBLOCK a node is not in memory
 *  @retval THINP_ECORRUPT    a node failed its check
 *  @retval THINP_EINVAL      the type is not one a tree can have
 */
THINP_API int thinp_btree_lookup_cached(struct thinp_reader *reader, const struct thinp_btree_type *type,
					thinp_block_t root, const uint64_t *keys, void *value_le);

/** Find the values of many keys at once: their ways down the tree are gone together, so that one waits for memory
 *  or the device while the others go on.
 *
 *  @param reader          where to read
 *  @param type            what the tree is; borrowed for the call
 *  @param root            the tree
 *  @param keys            nr_keys times nr_levels keys, in any order
 *  @param nr_keys         how many
 *  @param[out] values_le  nr_keys values; those of keys not found are left alone; NULL: only tell whether there is one
 *  @param[out] results    nr_keys results: for each key what thinp_btree_lookup() would have returned
 *  @return 0 when every result is 0 or #THINP_ENODATA, else the first of the others
 */
THINP_API int thinp_btree_lookup_many(struct thinp_reader *reader, const struct thinp_btree_type *type,
				      thinp_block_t root, const uint64_t *keys, size_t nr_keys, void *values_le,
				      int32_t *results);

/** Find the first entry whose key is the given one or a larger one.
 *
 *  @param reader           where to read
 *  @param type             what the tree is; borrowed for the call
 *  @param root             the tree
 *  @param keys             where to begin
 *  @param[out] found_keys  the key found, may be the same array as @p keys
 *  @param[out] value_le    its value; NULL is allowed
 *  @retval 0              found
 *  @retval THINP_ENODATA  no such entry; other errors as thinp_btree_lookup()
 */
THINP_API int thinp_btree_lookup_ge(struct thinp_reader *reader, const struct thinp_btree_type *type,
				    thinp_block_t root, const uint64_t *keys, uint64_t *found_keys, void *value_le);

/** Find the first entry.
 *
 *  @param reader         where to read
 *  @param type           what the tree is; borrowed for the call
 *  @param root           the tree
 *  @param[out] keys      its key
 *  @param[out] value_le  its value; NULL is allowed
 *  @retval 0              found
 *  @retval THINP_ENODATA  the tree is empty; other errors as thinp_btree_lookup()
 */
THINP_API int thinp_btree_first(struct thinp_reader *reader, const struct thinp_btree_type *type, thinp_block_t root,
				uint64_t *keys, void *value_le);

/** Find the last entry.
 *
 *  @param reader         where to read
 *  @param type           what the tree is; borrowed for the call
 *  @param root           the tree
 *  @param[out] keys      its key
 *  @param[out] value_le  its value; NULL is allowed
 *  @retval 0              found
 *  @retval THINP_ENODATA  the tree is empty; other errors as thinp_btree_lookup()
 */
THINP_API int thinp_btree_last(struct thinp_reader *reader, const struct thinp_btree_type *type, thinp_block_t root,
			       uint64_t *keys, void *value_le);

/** Visit all entries in order, a leaf at a time. Nodes are fetched ahead.
 *
 *  @param reader  where to read
 *  @param type    what the tree is; borrowed for the call
 *  @param root    the tree
 *  @param fn      receives the entries
 *  @param ctx     handed to @p fn
 *  @return 0 at the end, what @p fn returned if not 0, or an error as thinp_btree_lookup()
 */
THINP_API int thinp_btree_walk(struct thinp_reader *reader, const struct thinp_btree_type *type, thinp_block_t root,
			       thinp_btree_span_fn fn, void *ctx);

/** Visit the entries from a first to a last key, both included.
 *
 *  @param reader      where to read
 *  @param type        what the tree is; borrowed for the call
 *  @param root        the tree
 *  @param first_keys  where to begin; need not be in the tree
 *  @param last_keys   where to end; need not be in the tree
 *  @param fn          receives the entries
 *  @param ctx         handed to @p fn
 *  @return as thinp_btree_walk()
 */
THINP_API int thinp_btree_walk_range(struct thinp_reader *reader, const struct thinp_btree_type *type,
				     thinp_block_t root, const uint64_t *first_keys, const uint64_t *last_keys,
				     thinp_btree_span_fn fn, void *ctx);

/** Make a cursor. It stands nowhere until it is moved.
 *
 *  A cursor keeps a copy of the leaf it stands in and pins nothing.
 *
 *  @param reader       where to read; must outlive the cursor
 *  @param type         what the tree is; copied
 *  @param root         the tree
 *  @param[out] cursor  the cursor
 *  @retval 0              done
 *  @retval THINP_ENOMEM   no memory
 *  @retval THINP_EINVAL   the type is not one a tree can have
 */
THINP_API int thinp_btree_cursor_create(struct thinp_reader *reader, const struct thinp_btree_type *type,
					thinp_block_t root, struct thinp_btree_cursor **cursor);

/** Release a cursor.
 *
 *  @param cursor  the cursor; NULL is allowed
 */
THINP_API void thinp_btree_cursor_destroy(struct thinp_btree_cursor *cursor);

/** Move to the first entry whose key is the given one or a larger one.
 *
 *  @param cursor  the cursor
 *  @param keys    where to go
 *  @retval 0              the cursor stands on an entry
 *  @retval THINP_ENODATA  there is none; the cursor stands behind the last entry. Other errors as
 *                         thinp_btree_lookup(), after which the cursor stands nowhere
 *  @retval THINP_ESTALE   the open transaction was changed: see thinp_btree_cursor_set_root()
 */
THINP_API int thinp_btree_cursor_seek(struct thinp_btree_cursor *cursor, const uint64_t *keys);

/** Move to the first entry.
 *
 *  @param cursor  the cursor
 *  @return as thinp_btree_cursor_seek()
 */
THINP_API int thinp_btree_cursor_first(struct thinp_btree_cursor *cursor);

/** Move to the last entry.
 *
 *  @param cursor  the cursor
 *  @return as thinp_btree_cursor_seek(); #THINP_ENODATA: the cursor stands before the first entry
 */
THINP_API int thinp_btree_cursor_last(struct thinp_btree_cursor *cursor);

/** Move to the next entry. From nowhere and from before the first entry, that is the first one.
 *
 *  @param cursor  the cursor
 *  @return as thinp_btree_cursor_seek()
 */
THINP_API int thinp_btree_cursor_next(struct thinp_btree_cursor *cursor);

/** Move to the entry before. From nowhere and from behind the last entry, that is the last one.
 *
 *  @param cursor  the cursor
 *  @return as thinp_btree_cursor_last()
 */
THINP_API int thinp_btree_cursor_prev(struct thinp_btree_cursor *cursor);

/** Copy out the entry that the cursor stands on.
 *
 *  @param cursor         the cursor
 *  @param[out] keys      its key; NULL is allowed
 *  @param[out] value_le  its value; NULL is allowed
 *  @retval 0              done
 *  @retval THINP_ENODATA  the cursor stands on no entry
 */
THINP_API int thinp_btree_cursor_get(const struct thinp_btree_cursor *cursor, uint64_t *keys, void *value_le);

/** Let a cursor go on in another root: that of the same tree after a change, for example.
 *
 *  A cursor over thinp_tm_reader() is stale as soon as anything was changed in the open transaction (in any tree: see
 *  thinp_tm_generation()). Every move then answers #THINP_ESTALE and leaves it where it stands, until it is given the
 *  root once more. It stands on the same key then, be it in the tree or not: the next move goes to the first key behind
 *  it, or the last one before it. thinp_btree_cursor_get() gives the entry as it was when the cursor came to it.
 *
 *  @param cursor  the cursor
 *  @param root    the tree
 */
THINP_API void thinp_btree_cursor_set_root(struct thinp_btree_cursor *cursor, thinp_block_t root);

/** Make an empty tree.
 *
 *  @param tm         open transaction
 *  @param type       what the tree is; borrowed for the call
 *  @param[out] root  the tree, with one reference, which is the caller's
 *  @retval 0                 done
 *  @retval THINP_ENOSPC      no metadata block left; nothing was changed
 *  @retval THINP_EINVAL      the type is not one a tree can have
 *  @retval THINP_EMUSTABORT  an earlier change failed half way
 *  @return or another code of thinp_tm_new_block()
 */
THINP_API int thinp_btree_create(struct thinp_tm *tm, const struct thinp_btree_type *type, thinp_block_t *root);

/** Insert a key, or overwrite its value. Trees of lower levels that are missing on the way are made.
 *
 *  @param tm             open transaction
 *  @param type           what the tree is; borrowed for the call
 *  @param root           the tree; its reference moves to @p new_root
 *  @param keys           one key for each level
 *  @param value_le       the value in on-disk form, copied; the reference that it stands for moves into the tree
 *  @param[out] new_root  the tree after the change
 *  @param[out] inserted  true: the key is new; false: a value was overwritten; NULL is allowed
 *  @retval 0                 done
 *  @retval THINP_ENOSPC      no room for the change and its commit; nothing was changed
 *  @retval THINP_EINVAL      the type is not one a tree can have
 *  @retval THINP_ECORRUPT    a node failed its check
 *  @retval THINP_EMUSTABORT  an earlier change failed half way
 *  @return or another code of thinp_tm_shadow_block(), thinp_tm_inc() or a function of the type. All nodes on the way are
 *          looked at before anything is changed, so most failures change nothing. Siblings that entries would move to
 *          are not: when one of them is damaged, the transaction can only be aborted. thinp_tm_status() tells. @p new_root
 *          is left alone by every failure
 */
THINP_API int thinp_btree_insert(struct thinp_tm *tm, const struct thinp_btree_type *type, thinp_block_t root,
				 const uint64_t *keys, const void *value_le, thinp_block_t *new_root, bool *inserted);

/** Insert many keys at once: each leaf is found, copied and filled one time, however many of its keys there are.
 *
 *  @param tm                open transaction
 *  @param type              what the tree is; borrowed for the call
 *  @param root              the tree; its reference moves to @p new_root
 *  @param keys              nr_keys times nr_levels keys, ascending; of equal neighbours the last one counts
 *  @param values_le         nr_keys values
 *  @param nr_keys           how many
 *  @param[out] new_root     the tree after the change
 *  @param[out] nr_inserted  how many keys are new; NULL is allowed
 *  @retval THINP_EINVAL     the keys do not ascend; nothing was changed
 *  @return or as thinp_btree_insert()
 */
THINP_API int thinp_btree_insert_many(struct thinp_tm *tm, const struct thinp_btree_type *type, thinp_block_t root,
				      const uint64_t *keys, const void *values_le, size_t nr_keys,
				      thinp_block_t *new_root, uint64_t *nr_inserted);

/** Remove a key.
 *
 *  @param tm             open transaction
 *  @param type           what the tree is; borrowed for the call
 *  @param root           the tree; its reference moves to @p new_root
 *  @param keys           one key for each level
 *  @param[out] new_root  the tree after the change
 *  @retval 0              done
 *  @retval THINP_ENODATA  no such key; nothing was changed, @p root is still the tree
 *  @return or as thinp_btree_insert()
 */
THINP_API int thinp_btree_remove(struct thinp_tm *tm, const struct thinp_btree_type *type, thinp_block_t root,
				 const uint64_t *keys, thinp_block_t *new_root);

/** Remove many keys at once: each leaf is found and copied one time, however many of its keys go. Keys that are not in the
 *  tree are passed over.
 *
 *  @param tm               open transaction
 *  @param type             what the tree is; borrowed for the call
 *  @param root             the tree; its reference moves to @p new_root
 *  @param keys             nr_keys times nr_levels keys, ascending; equal neighbours count once
 *  @param nr_keys          how many
 *  @param[out] new_root    the tree after the change
 *  @param[out] nr_removed  how many entries are gone; NULL is allowed
 *  @retval 0             done; with nothing to remove, nothing was changed and @p new_root is @p root
 *  @retval THINP_ENOSPC  no room for all of them and the commit; nothing was changed. Fewer keys at a time may do
 *  @retval THINP_EINVAL  the keys do not ascend; nothing was changed
 *  @return or as thinp_btree_insert()
 */
THINP_API int thinp_btree_remove_many(struct thinp_tm *tm, const struct thinp_btree_type *type, thinp_block_t root,
				      const uint64_t *keys, size_t nr_keys, thinp_block_t *new_root,
				      uint64_t *nr_removed);

/** Remove all keys from a first to a last one, both included; whole leaves at once. In a nested tree, the upper keys of
 *  both are the same: the range lies in one tree of the last level.
 *
 *  A large range can be removed in steps, with commits in between: see @p max_leaves.
 *
 *  @param tm               open transaction
 *  @param type             what the tree is; borrowed for the call
 *  @param root             the tree; its reference moves to @p new_root
 *  @param first_keys       first key; need not be in the tree
 *  @param last_keys        last key; need not be in the tree
 *  @param max_leaves       stop after so many leaves; 0: no limit
 *  @param[out] new_root    the tree after the change
 *  @param[out] nr_removed  how many entries are gone; NULL is allowed
 *  @param[out] is_complete true: nothing of the range is left; NULL is allowed
 *  @retval 0              done; with nothing to remove, nothing was changed and @p new_root is @p root
 *  @retval THINP_ENODATA  an upper key is not there; nothing was changed
 *  @return or as thinp_btree_insert()
 */
THINP_API int thinp_btree_remove_range(struct thinp_tm *tm, const struct thinp_btree_type *type, thinp_block_t root,
				       const uint64_t *first_keys, const uint64_t *last_keys, uint32_t max_leaves,
				       thinp_block_t *new_root, uint64_t *nr_removed, bool *is_complete);

/** Drop a reference to a tree, and with the last one the whole of it: its values lose their references, trees of lower
 *  levels are dropped in the same way. What is shared with other trees stays. Memory is bounded by depth and levels.
 *
 *  @param tm    open transaction
 *  @param type  what the tree is; borrowed for the call
 *  @param root  the tree
 *  @return as thinp_btree_insert()
 */
THINP_API int thinp_btree_del(struct thinp_tm *tm, const struct thinp_btree_type *type, thinp_block_t root);

struct thinp_btree_loader; /* opaque: defined in src/btree */

/** Begin to build a tree of one level from sorted entries, bottom up, with full nodes.
 *
 *  @param tm           open transaction; must not be changed otherwise until the loader is finished or destroyed
 *  @param type         what the tree is; copied
 *  @param[out] loader  the loader
 *  @retval 0             done
 *  @retval THINP_ENOMEM  no memory
 *  @retval THINP_EINVAL  the type is not one a tree of one level can have
 */
THINP_API int thinp_btree_loader_create(struct thinp_tm *tm, const struct thinp_btree_type *type,
					struct thinp_btree_loader **loader);

/** Give the next entries.
 *
 *  @param loader      the loader
 *  @param keys        keys, strictly ascending, larger than all before
 *  @param values_le   their values; the references they stand for move into the tree
 *  @param nr_entries  how many
 *  @retval 0             done
 *  @retval THINP_EINVAL  the keys do not ascend; nothing was changed
 *  @retval THINP_ESTALE  the transaction that the loader began in has ended; nothing was changed
 *  @return or as thinp_btree_insert(); THINP_ENOSPC: nothing of this call was taken up
 */
THINP_API int thinp_btree_loader_add(struct thinp_btree_loader *loader, const uint64_t *keys, const void *values_le,
				     size_t nr_entries);

/** End the tree.
 *
 *  @param loader     the loader; can only be destroyed afterwards
 *  @param[out] root  the tree, with one reference, which is the caller's
 *  @retval THINP_ESTALE  the transaction that the loader began in has ended; nothing was changed
 *  @return or as thinp_btree_insert()
 */
THINP_API int thinp_btree_loader_finish(struct thinp_btree_loader *loader, thinp_block_t *root);

/** Release a loader. A tree that was not finished is dropped, its values with it, unless the transaction has ended: an
 *  abort has dropped it already, a commit has lost its blocks.
 *
 *  @param loader  the loader; NULL is allowed
 */
THINP_API void thinp_btree_loader_destroy(struct thinp_btree_loader *loader);

#ifdef __cplusplus
}
#endif
#endif
