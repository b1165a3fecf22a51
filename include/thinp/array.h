/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 *  @brief Arrays of values of one fixed size, and bitsets. Reading.
 *
 *  An array is known by the block number of its root. It does not store its own length: its owner knows it. A bitset is
 *  an array of 64-bit words. Any number of threads may read one array at once.
 */
#ifndef THINP_ARRAY_H
#define THINP_ARRAY_H

#include <thinp/block.h>
#include <thinp/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What kind of array it is. */
struct thinp_array_type {
	size_t size;         /**< sizeof(struct thinp_array_type), set by the caller */
	uint32_t value_size; /**< bytes of a value, at most 4072 */
	uint32_t reserved;   /**< 0 */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_array_type) == 16, "published layout, version 1");

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

/** Tell whether a bit of a bitset is set.
 *
 *  @param reader       where to read
 *  @param root         the bitset
 *  @param bit          which bit, counted from 0; bits behind the owner's length are unspecified
 *  @param[out] is_set  the answer
 *  @retval 0  done; errors as thinp_array_get()
 */
THINP_API int thinp_bitset_test(struct thinp_reader *reader, thinp_block_t root, uint64_t bit, bool *is_set);

#ifdef __cplusplus
}
#endif
#endif
