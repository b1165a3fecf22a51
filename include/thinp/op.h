/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 *  @brief An operation on reference counts: what is queued, applied and traced.
 */
#ifndef THINP_OP_H
#define THINP_OP_H

#include <thinp/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What an operation does to the count of each of its blocks. */
enum thinp_op_kind {
	THINP_OP_INC = 1, /**< one more reference */
	THINP_OP_DEC = 2, /**< one reference less; a count of 0 frees the block */
};

/** Why an operation was issued. For traces: no count depends on it. */
enum thinp_op_cause {
	THINP_CAUSE_USER = 0, /**< a caller asked for just that */
	THINP_CAUSE_NEW = 1,  /**< a block that was taken gets its first reference */
	THINP_CAUSE_SHADOW =
		2, /**< a block was copied: the copy's first reference, the original's last one, its children */
	THINP_CAUSE_SPLIT = 3, /**< a node had no room */
	THINP_CAUSE_MERGE = 4, /**< a node was emptied into its neighbours, or a root into its parent's place */
	THINP_CAUSE_FREE = 5,  /**< something that pointed to the block is gone: a tree, an entry, a value */
};

/** One operation: the same change to the counts of neighbouring blocks. */
struct thinp_op {
	uint64_t first;     /**< first block */
	uint64_t nr_blocks; /**< at least 1 */
	uint64_t number;    /**< counts the operations of one space map, in the order in which they were issued */
	uint32_t kind;      /**< one of ::thinp_op_kind */
	uint32_t cause;     /**< one of ::thinp_op_cause */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_op) == 32, "published layout, version 1");

#ifdef __cplusplus
}
#endif
#endif
