/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 *  @brief A device that misbehaves by script, to test what stands on it.
 *
 *  It stands over another device, which stays the caller's: a test looks there for what really arrived. Rules say which
 *  operations go wrong, and how. With a volatile cache, what was not flushed is lost when the test cuts the power.
 *
 *  Operations are carried out one after the other, in the order of their array, so that "the third write" means the
 *  same in every run. Nothing waits and nothing sleeps; where a test wants to stop an operation, it does so in a callback
 *  of its own.
 */
#ifndef THINP_FAULT_H
#define THINP_FAULT_H

#include <thinp/io.h>

#ifdef __cplusplus
extern "C" {
#endif

struct thinp_fault; /* opaque: defined in src/io */

#define THINP_FAULT_VOLATILE_CACHE 1u /**< flag: keep writes in memory until a FLUSH, or until the cache is full */

/** How to make a device that misbehaves. */
struct thinp_fault_opts {
	size_t size;                             /**< sizeof(struct thinp_fault_opts), set by the caller */
	uint32_t flags;                          /**< THINP_FAULT_VOLATILE_CACHE */
	uint32_t cache_blocks;                   /**< most blocks in the volatile cache; 0: 16384, which is 64 MiB */
	const struct thinp_allocator *allocator; /**< NULL: libc; must outlive the device */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_fault_opts) == 24, "published layout, version 1");

#define THINP_FAULT_ON_READ    2u  /**< kind of operation: READ */
#define THINP_FAULT_ON_WRITE   4u  /**< kind of operation: WRITE */
#define THINP_FAULT_ON_DISCARD 8u  /**< kind of operation: DISCARD */
#define THINP_FAULT_ON_FLUSH   16u /**< kind of operation: FLUSH */

/** What a rule does to an operation. The result of the operation is the rule's `code` where that is not 0. */
enum thinp_fault_action {
	THINP_FAULT_PASS = 0,   /**< nothing: the operation is counted and shown to the callback */
	THINP_FAULT_FAIL = 1,   /**< it is not carried out, and fails; with #THINP_EIO when `code` is 0 */
	THINP_FAULT_DROP = 2,   /**< it is not carried out, and succeeds: a lost WRITE, a FLUSH that flushes nothing */
	THINP_FAULT_ANSWER = 3, /**< it is carried out, and succeeds even when it failed below */
	THINP_FAULT_TEAR = 4,   /**< WRITE: only the chosen sectors reach the device */
	THINP_FAULT_MISDIRECT = 5, /**< READ, WRITE, DISCARD: it is done to the blocks from `target` on */
	THINP_FAULT_STALE = 6, /**< READ: the blocks in the range come back as they were before their last WRITE since
	                                the rule was added */
	THINP_FAULT_SHORT = 7, /**< READ: only the chosen sectors come back; the rest of the buffer is not touched */
	THINP_FAULT_FLIP = 8,  /**< READ: bits of the blocks in the range are flipped */
};

#define THINP_FAULT_GARBAGE 1u         /**< flag of SHORT: the rest of the buffer is filled with garbage */
#define THINP_FAULT_ALWAYS  UINT64_MAX /**< `times`: from then on for ever */

/** Called when a rule acts, before the operation is carried out, on the thread that asked for the operation and without
 *  any lock: it may stop the thread, or use the same device.
 *
 *  @param ctx  the caller's own pointer
 *  @param op   the operation; valid during the call
 *  @return 0 to go on as the rule says; anything else (one of ::thinp_err, or a negative errno) is the result of the
 *          operation, which is not carried out
 */
typedef int (*thinp_fault_fn)(void *ctx, const struct thinp_io_op *op);

/** A rule: which operations go wrong, from when on, how often, and how.
 *
 *  TEAR and SHORT choose sectors of 512 bytes, counted from the first of the operation: those whose bit, number of the
 *  sector modulo 64, is set in `sector_mask`, and whose number is below `nr_sectors`. A mask of 0 leaves the first
 *  `nr_sectors`; with a mask, an `nr_sectors` of 0 is no limit.
 */
struct thinp_fault_rule {
	size_t size;         /**< sizeof(struct thinp_fault_rule), set by the caller */
	uint32_t kinds;      /**< THINP_FAULT_ON_READ, ...; 0: all that the action can be done to */
	uint32_t action;     /**< one of ::thinp_fault_action */
	thinp_block_t begin; /**< operations that touch the blocks from here on */
	thinp_block_t end;   /**< up to here, exclusively; 0: no limit. A rule with a range never matches a FLUSH */
	uint64_t nth;        /**< acts at the n-th operation it matches, counted from when it was added; 0: the first */
	uint64_t times;      /**< at so many that it matches from then on; 0: one; or #THINP_FAULT_ALWAYS */
	int32_t code;        /**< the result: one of ::thinp_err or a negative errno; 0: as the action says */
	uint32_t flags;      /**< THINP_FAULT_GARBAGE */
	uint64_t nr_sectors; /**< TEAR, SHORT: see above */
	uint64_t sector_mask;  /**< TEAR, SHORT: see above */
	thinp_block_t target;  /**< MISDIRECT: where the first block goes; beyond the end: #THINP_ERANGE */
	uint32_t offset_bytes; /**< FLIP: which byte of each block, below 4096 */
	uint32_t flip_mask;    /**< FLIP: which of its bits, 1 to 255; 0: all */
	thinp_fault_fn call;   /**< called when the rule acts; NULL: nobody is */
	void *call_ctx;        /**< handed to the callback */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_fault_rule) == 104, "published layout, version 1");

/** What the device has been asked for. Operations that a batch never came to are not counted. */
struct thinp_fault_stats {
	size_t size;               /**< sizeof(struct thinp_fault_stats), set by the caller */
	uint64_t reads;            /**< operations of the kind READ */
	uint64_t writes;           /**< of the kind WRITE */
	uint64_t discards;         /**< of the kind DISCARD */
	uint64_t flushes;          /**< of the kind FLUSH */
	uint64_t fired;            /**< operations that a rule acted on */
	uint64_t unflushed_blocks; /**< blocks in the volatile cache now */
	uint64_t power_cuts;       /**< calls of thinp_fault_power_cut() */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_fault_stats) == 64, "published layout, version 1");

/** Make a device that misbehaves, over another.
 *
 *  A volatile cache holds the newest content of each block that was written and not flushed. A FLUSH brings it to the
 *  device below and flushes that. When the cache is full, the block that has waited longest goes to the device below.
 *  A DISCARD and a change of size go there at once; what the cache holds of these blocks is dropped by the one, and
 *  the whole cache is written back before the other.
 *
 *  @param lower       the device below; borrowed, must outlive this one. While the volatile cache holds blocks, nobody
 *                     else may write to it
 *  @param opts        NULL: no volatile cache
 *  @param[out] fault  the controls; any number of threads may use them at once
 *  @retval 0              done
 *  @retval THINP_EINVAL   an allocator without its functions
 *  @retval THINP_ENOTSUP  the options ask for something newer than this library
 *  @retval THINP_ENOMEM   no memory
 */
THINP_API int thinp_fault_create(struct thinp_io *lower, const struct thinp_fault_opts *opts,
				 struct thinp_fault **fault);

/** Release the controls. Every device opened on them must be closed. What is in the volatile cache is lost.
 *
 *  @param fault  the controls; NULL is allowed
 */
THINP_API void thinp_fault_destroy(struct thinp_fault *fault);

/** Open the device. It may be open several times; closing it flushes nothing.
 *
 *  @param fault    the controls; must outlive the device
 *  @param opts     NULL: defaults. THINP_IO_READ_ONLY and the allocator are used. A device over a read-only one is
 *                  read-only
 *  @param[out] io  the device; closed by thinp_io_close()
 *  @retval 0              done
 *  @retval THINP_EINVAL   flags that contradict each other
 *  @retval THINP_ENOTSUP  the options ask for something newer than this library
 *  @retval THINP_ENOMEM   no memory
 */
THINP_API int thinp_fault_open(struct thinp_fault *fault, const struct thinp_io_opts *opts, struct thinp_io **io);

/** Add a rule. May be called while operations are under way.
 *
 *  An operation is counted by every rule that matches it. The first of those whose turn it is, in the order in which
 *  they were added, acts; for the others this turn is over.
 *
 *  A STALE rule makes the device keep one older content of each block in its range that is written, from then on until
 *  thinp_fault_clear(). Where there is no memory for that, the WRITE is not carried out and gets #THINP_ENOMEM.
 *
 *  @param fault    the controls
 *  @param rule     the rule; copied
 *  @param[out] id  the rule's number; NULL: not wanted
 *  @retval 0              done
 *  @retval THINP_EINVAL   the action cannot be done to these kinds, `end` lies before `begin`, or another value that
 *                         makes no sense
 *  @retval THINP_ENOTSUP  an action, kind or flag that this library does not know
 *  @retval THINP_ENOMEM   no memory
 */
THINP_API int thinp_fault_add(struct thinp_fault *fault, const struct thinp_fault_rule *rule, uint64_t *id);

/** Fail one operation, the n-th of its kind from now on: a rule in short.
 *
 *  @param fault    the controls
 *  @param kind     one of ::thinp_io_kind
 *  @param nth      1 is the next one
 *  @param code     the result: one of ::thinp_err or a negative errno; 0: #THINP_EIO
 *  @param[out] id  the rule's number; NULL: not wanted
 *  @return as thinp_fault_add()
 */
THINP_API int thinp_fault_fail_nth(struct thinp_fault *fault, uint32_t kind, uint64_t nth, int32_t code, uint64_t *id);

/** How often a rule was met.
 *
 *  @param fault         the controls
 *  @param id            number of the rule
 *  @param[out] matched  operations that it matched; NULL: not wanted
 *  @param[out] fired    operations that it acted on; NULL: not wanted
 *  @retval 0              done
 *  @retval THINP_ENODATA  no such rule
 */
THINP_API int thinp_fault_get_counts(struct thinp_fault *fault, uint64_t id, uint64_t *matched, uint64_t *fired);

/** Take all rules away. An operation that a rule has met already is still carried out as that rule says.
 *
 *  @param fault  the controls
 */
THINP_API void thinp_fault_clear(struct thinp_fault *fault);

/** Copy out the figures.
 *
 *  @param fault          the controls
 *  @param[in,out] stats  `size` set by the caller; at most that many bytes are filled in
 */
THINP_API void thinp_fault_get_stats(struct thinp_fault *fault, struct thinp_fault_stats *stats);

/** List the blocks in the volatile cache: what a power cut would lose.
 *
 *  @param fault        the controls
 *  @param[out] blocks  room for @p max numbers; those that have waited longest come first
 *  @param max          0 to ask for the number only
 *  @return how many there are, which may be more than @p max
 */
THINP_API size_t thinp_fault_list_unflushed(struct thinp_fault *fault, thinp_block_t *blocks, size_t max);

/** Cut the power. The volatile cache forgets its blocks, except those that are said to have survived, which reach the
 *  device below. Every device opened before fails from now on with #THINP_EIO, also an operation that a callback holds
 *  up; only what has come to the device below already is finished there. A device that is opened afterwards sees what
 *  survived. Rules stay.
 *
 *  @param fault         the controls
 *  @param survivors     numbers of blocks; those that are not in the cache are passed over
 *  @param nr_survivors  how many; 0: the cache forgets all
 *  @retval 0          done
 *  @retval THINP_EIO  the device below failed to take a survivor; the power is cut all the same
 *  @return or another failure of the device below
 */
THINP_API int thinp_fault_power_cut(struct thinp_fault *fault, const thinp_block_t *survivors, size_t nr_survivors);

#ifdef __cplusplus
}
#endif
#endif
