/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 *  @brief Arrays of values of one fixed size, and bitsets.
 *
 *  An array is known by the block number of its root. It does not store its own length: its owner knows it. A bitset is
 *  an array of 64-bit words. Any number of threads may read one array at once.
 *
 *  Changing takes an open transaction and gives back a new root, as with trees: thinp/btree.h. Whoever adds a reference to
 *  a root with thinp_tm_inc() has a snapshot of the array.
 */
#ifndef THINP_ARRAY_H
#define THINP_ARRAY_H

#include <thinp/block.h>
#include <thinp/transaction.h>
#include <thinp/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What kind of array it is. */
struct thinp_array_type {
	size_t size;         /**< sizeof(struct thinp_array_type), set by the caller */
	uint32_t value_size; /**< bytes of a value, at most 4072 */
	uint32_t reserved;   /**< 0 */
	/* For changing only; all may be NULL: values are then plain numbers. The functions may use the transaction's
	 * counts and any space map, but must not change trees or arrays. A failure makes the transaction one to be
	 * aborted. */
	void *ctx; /**< handed to all functions */
	/** A block with these values was copied, and the original stays, or a default value was written so many times: each
	 *  value has one more owner.
	 *  @return 0, or a code */
	int (*inc)(void *ctx, const void *values_le, size_t nr_values);
	/** These values were cut off, or overwritten, or died with their block: each has one owner less.
	 *  @return 0, or a code */
	int (*dec)(void *ctx, const void *values_le, size_t nr_values);
	/** Tell whether a new value stands for the same thing as the old one that it overwrites; then dec() is not called
	 *  for the old one. NULL: never the same. */
	bool (*equal)(void *ctx, const void *a_le, const void *b_le);
	/** The most metadata blocks that recording the counts of nr_values values may take, for inc() and dec(); asked
	 *  before a change begins. NULL: 0. */
	uint64_t (*cost)(void *ctx, size_t nr_values);
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_array_type) == 56, "published layout, version 1");

/** Neighbouring values, as they stand on the disk. Valid during the callback. */
struct thinp_array_span {
	size_t size;           /**< sizeof(struct thinp_array_span), set by the library */
	uint64_t begin;        /**< index of the first value */
	const void *values_le; /**< nr_values values in on-disk form */
	uint32_t nr_values;    /**< at least 1 */
	uint32_t value_size;   /**< bytes of a value */
	thinp_block_t block;   /**< the block they are from */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_array_span) == 40, "published layout, version 1");

/** Receives the values of an array in order, a block at a time. May call the library.
 *
 *  @param ctx   the caller's own pointer
 *  @param span  the values
 *  @return 0 to go on; anything else ends the walk, which returns it
 */
typedef int (*thinp_array_span_fn)(void *ctx, const struct thinp_array_span *span);

/** Get one value.
 *
 *  @param reader         where to read
 *  @param type           what the array is; borrowed for the call
 *  @param root           the array
 *  @param index          which value, counted from 0
 *  @param[out] value_le  the value in on-disk form
 *  @retval 0               done
 *  @retval THINP_ENODATA   the array is not as long as that
 *  @retval THINP_ECORRUPT  a block failed its check
 *  @retval THINP_EINVAL    the type is not one an array can have
 *  @retval THINP_EIO       the device failed
 *  @retval THINP_ENOMEM    no memory
 */
THINP_API int thinp_array_get(struct thinp_reader *reader, const struct thinp_array_type *type, thinp_block_t root,
			      uint64_t index, void *value_le);

/** Tell how many values the blocks of an array hold. The owner's own number is the length; for a bitset it is given in
 *  bits.
 *
 *  @param reader          where to read
 *  @param type            what the array is; borrowed for the call
 *  @param root            the array
 *  @param[out] nr_values  the number of values
 *  @retval 0  done; errors as thinp_array_get()
 */
THINP_API int thinp_array_nr_values(struct thinp_reader *reader, const struct thinp_array_type *type,
				    thinp_block_t root, uint64_t *nr_values);

/** Visit the values of a range in order, a block at a time. Blocks are fetched ahead.
 *
 *  @param reader  where to read
 *  @param type    what the array is; borrowed for the call
 *  @param root    the array
 *  @param begin   first index
 *  @param end     one behind the last index: the length, to visit all
 *  @param fn      receives the values
 *  @param ctx     handed to @p fn
 *  @return 0 at the end, what @p fn returned if not 0, or an error as thinp_array_get()
 */
THINP_API int thinp_array_walk(struct thinp_reader *reader, const struct thinp_array_type *type, thinp_block_t root,
			       uint64_t begin, uint64_t end, thinp_array_span_fn fn, void *ctx);

struct thinp_array_cursor; /* opaque: defined in src/array */

/** Make a cursor. It stands nowhere until it is moved. It keeps a copy of the block it stands in and pins nothing.
 *
 *  @param reader      where to read; must outlive the cursor
 *  @param type        what the array is; copied
 *  @param root        the array
 *  @param nr_values   its length
 *  @param[out] cursor the cursor
 *  @retval 0             done
 *  @retval THINP_ENOMEM  no memory
 *  @retval THINP_EINVAL  the type is not one an array can have
 */
THINP_API int thinp_array_cursor_create(struct thinp_reader *reader, const struct thinp_array_type *type,
					thinp_block_t root, uint64_t nr_values, struct thinp_array_cursor **cursor);

/** Release a cursor.
 *
 *  @param cursor  the cursor; NULL is allowed
 */
THINP_API void thinp_array_cursor_destroy(struct thinp_array_cursor *cursor);

/** Move to a value.
 *
 *  @param cursor  the cursor
 *  @param index   which one
 *  @retval 0              the cursor stands on it
 *  @retval THINP_ENODATA  the array is not as long as that; the cursor stands behind the last value
 *  @return or as thinp_array_get(), after which the cursor stands nowhere
 */
THINP_API int thinp_array_cursor_seek(struct thinp_array_cursor *cursor, uint64_t index);

/** Move on by some values: 1 is the next one, 0 stays. From nowhere, 1 is the first one.
 *
 *  @param cursor    the cursor
 *  @param distance  how many
 *  @return as thinp_array_cursor_seek()
 */
THINP_API int thinp_array_cursor_skip(struct thinp_array_cursor *cursor, uint64_t distance);

/** Move to the next value. From nowhere, that is the first one.
 *
 *  @param cursor  the cursor
 *  @return as thinp_array_cursor_seek()
 */
THINP_API int thinp_array_cursor_next(struct thinp_array_cursor *cursor);

/** Copy out the value that the cursor stands on.
 *
 *  @param cursor         the cursor
 *  @param[out] index     its index; NULL is allowed
 *  @param[out] value_le  the value; NULL is allowed
 *  @retval 0              done
 *  @retval THINP_ENODATA  the cursor stands on no value
 */
THINP_API int thinp_array_cursor_get(const struct thinp_array_cursor *cursor, uint64_t *index, void *value_le);

/** Writes values of a new array, a block at a time, in order. May call the library, but must not change anything through
 *  the transaction.
 *
 *  @param ctx        the caller's own pointer
 *  @param begin      index of the first one
 *  @param nr_values  how many
 *  @param values_le  where to, in on-disk form; zeros at first
 *  @return 0, or a code that ends the call
 */
typedef int (*thinp_array_fill_fn)(void *ctx, uint64_t begin, uint32_t nr_values, void *values_le);

/** Make an empty array.
 *
 *  @param tm         open transaction
 *  @param type       what the array is; borrowed for the call
 *  @param[out] root  the array, with one reference, which is the caller's
 *  @return as thinp_btree_create()
 */
THINP_API int thinp_array_create(struct thinp_tm *tm, const struct thinp_array_type *type, thinp_block_t *root);

/** Make an array with values.
 *
 *  @param tm         open transaction
 *  @param type       what the array is; borrowed for the call
 *  @param nr_values  its length
 *  @param fn         gives the values; the references that they stand for move into the array. NULL: zeros
 *  @param ctx        handed to @p fn
 *  @param[out] root  the array, with one reference, which is the caller's
 *  @return as thinp_array_set(), or what @p fn returned: the transaction can only be aborted
 */
THINP_API int thinp_array_new(struct thinp_tm *tm, const struct thinp_array_type *type, uint64_t nr_values,
			      thinp_array_fill_fn fn, void *ctx, thinp_block_t *root);

/** Change one value.
 *
 *  @param tm             open transaction
 *  @param type           what the array is; borrowed for the call
 *  @param root           the array; its reference moves to @p new_root
 *  @param index          which value
 *  @param value_le       the new value in on-disk form, copied; the reference that it stands for moves into the array
 *  @param[out] new_root  the array after the change
 *  @retval 0                 done
 *  @retval THINP_ENODATA     the array is not as long as that; nothing was changed
 *  @retval THINP_ENOSPC      no room for the change and its commit; nothing was changed
 *  @retval THINP_EINVAL      the type is not one an array can have
 *  @retval THINP_EMUSTABORT  an earlier change failed half way
 *  @return or another code: thinp_tm_status() tells whether the transaction can only be aborted
 */
THINP_API int thinp_array_set(struct thinp_tm *tm, const struct thinp_array_type *type, thinp_block_t root,
			      uint64_t index, const void *value_le, thinp_block_t *new_root);

/** Make an array longer or shorter. With the length that it has, nothing is done.
 *
 *  @param tm               open transaction
 *  @param type             what the array is; borrowed for the call
 *  @param root             the array; its reference moves to @p new_root
 *  @param nr_values        the length it has
 *  @param new_nr_values    the length it is to have
 *  @param default_le       what new values are; the references that they stand for are counted, the caller's own stays
 *                          his. NULL: zeros, not counted
 *  @param[out] new_root    the array after the change
 *  @retval THINP_ECORRUPT  for one, the array has not the length that its owner says
 *  @return or as thinp_array_set()
 */
THINP_API int thinp_array_resize(struct thinp_tm *tm, const struct thinp_array_type *type, thinp_block_t root,
				 uint64_t nr_values, uint64_t new_nr_values, const void *default_le,
				 thinp_block_t *new_root);

/** Drop a reference to an array, and with the last one the whole of it. What is shared with other arrays stays.
 *
 *  @param tm    open transaction
 *  @param type  what the array is; borrowed for the call
 *  @param root  the array
 *  @return as thinp_btree_del()
 */
THINP_API int thinp_array_del(struct thinp_tm *tm, const struct thinp_array_type *type, thinp_block_t root);

/** Tell whether a bit of a bitset is set.
 *
 *  @param reader       where to read
 *  @param root         the bitset
 *  @param bit          which bit, counted from 0; bits behind the owner's length are unspecified
 *  @param[out] is_set  the answer
 *  @retval 0  done; errors as thinp_array_get()
 */
THINP_API int thinp_bitset_test(struct thinp_reader *reader, thinp_block_t root, uint64_t bit, bool *is_set);

struct thinp_bitset; /* opaque: defined in src/array */

/** Make a handle to change a bitset: an array of words of 8 bytes, made with thinp_array_create() for one.
 *
 *  The word of the last bit is kept in the handle, so that bits near it cost nothing; thinp_bitset_flush() writes it. The
 *  first change of a word is written at once, so that it is then that #THINP_ENOSPC is told.
 *
 *  The handle owns the reference to its root. After an abort, and after anybody else has changed the bitset, what it
 *  knows is out of date: thinp_bitset_reset().
 *
 *  @param tm           the transaction manager; must outlive the handle
 *  @param root         the bitset; its reference moves to the handle
 *  @param nr_bits      its length
 *  @param[out] bitset  the handle; one thread at a time, the one that uses the transaction manager
 *  @retval 0             done
 *  @retval THINP_ENOMEM  no memory; the reference stays with the caller
 */
THINP_API int thinp_bitset_create(struct thinp_tm *tm, thinp_block_t root, uint64_t nr_bits,
				  struct thinp_bitset **bitset);

/** Release a handle. What was not flushed is lost.
 *
 *  @param bitset  the handle; NULL is allowed
 */
THINP_API void thinp_bitset_destroy(struct thinp_bitset *bitset);

/** Forget what the handle knows, and begin anew with a root: after an abort, that of the last commit.
 *
 *  @param bitset   the handle
 *  @param root     the bitset; its reference moves to the handle
 *  @param nr_bits  its length
 */
THINP_API void thinp_bitset_reset(struct thinp_bitset *bitset, thinp_block_t root, uint64_t nr_bits);

/** Set a bit.
 *
 *  @param bitset  the handle
 *  @param bit     which one
 *  @return as thinp_array_set()
 */
THINP_API int thinp_bitset_set(struct thinp_bitset *bitset, uint64_t bit);

/** Clear a bit.
 *
 *  @param bitset  the handle
 *  @param bit     which one
 *  @return as thinp_array_set()
 */
THINP_API int thinp_bitset_clear(struct thinp_bitset *bitset, uint64_t bit);

/** Tell whether a bit is set, changes that were not flushed included. Nothing is changed but for a word that was not flushed,
 *  which is written when the bit is in another one.
 *
 *  @param bitset       the handle
 *  @param bit          which one
 *  @param[out] is_set  the answer
 *  @return as thinp_array_set()
 */
THINP_API int thinp_bitset_get(struct thinp_bitset *bitset, uint64_t bit, bool *is_set);

/** Write what the handle keeps back. Before a commit, and before the root is used in any other way.
 *
 *  @param bitset     the handle
 *  @param[out] root  the bitset as it is now; the reference stays with the handle, or is handed on with it
 *  @return as thinp_array_set()
 */
THINP_API int thinp_bitset_flush(struct thinp_bitset *bitset, thinp_block_t *root);

/** Make a bitset longer or shorter.
 *
 *  @param bitset       the handle
 *  @param new_nr_bits  the length it is to have
 *  @param is_set       whether the new bits are set
 *  @return as thinp_array_resize()
 */
THINP_API int thinp_bitset_resize(struct thinp_bitset *bitset, uint64_t new_nr_bits, bool is_set);

/** How many bits there are.
 *
 *  @param bitset  the handle
 *  @return the number
 */
THINP_API uint64_t thinp_bitset_nr_bits(const struct thinp_bitset *bitset);

#ifdef __cplusplus
}
#endif
#endif
