/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 *  @brief Queues of reference-count operations: the order in which a space map applies what it had to put off.
 *
 *  Writing down the counts of a space map changes counts of the very same map. What arises meanwhile waits in a queue and
 *  is applied when the step is done. In which order, a *policy* decides. Its contract: *for each single block, operations
 *  come out in the order in which they went in.* It may merge neighbours, cut ranges, sort by block, and drop an INC and
 *  a DEC of one block that directly follow each other. Number and cause of an operation are for traces; nobody compares
 *  them.
 *
 *  The queue does not trust its policy. It keeps a *ledger* of what is pending for each block, in the order of arrival.
 *  Counts are answered from the ledger alone, and each operation that comes out is compared with it: one that was never
 *  put in, or that overtook another of its block, is refused with #THINP_EREFCOUNT before it is applied, and so is the end
 *  when something is missing. docs/op-ordering.md tells why that matters.
 *
 *  A queue belongs to one thread at a time. It is memory only, and takes as much as what is pending in it needs: ranges cost
 *  the same whatever their length.
 */
#ifndef THINP_OP_QUEUE_H
#define THINP_OP_QUEUE_H

#include <thinp/allocator.h>
#include <thinp/op.h>
#include <thinp/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A policy: an order, as a table of functions. All five are called with nothing locked, and must not call the queue. */
struct thinp_opq_policy {
	size_t size;      /**< sizeof(struct thinp_opq_policy), set by the caller */
	const char *name; /**< for traces and messages, NULL: "unnamed"; must live as long as the queue */
	void *ctx;        /**< handed to create() */
	/** Make an empty store of operations.
	 *  @return 0, or #THINP_ENOMEM or another code: the queue is then not made */
	int (*create)(void *ctx, const struct thinp_allocator *allocator, void **self);
	/** Release it with whatever it holds, which may be much: a queue that is cleared makes a new one when it needs it. */
	void (*destroy)(void *self);
	/** Put one in; `op` is to be copied.
	 *  @return 0, or a code: the operation is not taken */
	int (*push)(void *self, const struct thinp_op *op);
	/** Take the next one out; called only when it is not empty.
	 *  @return 0, or a code: nothing was taken out */
	int (*pop)(void *self, struct thinp_op *op);
	/** Tell whether nothing is left. */
	bool (*is_empty)(const void *self);
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_opq_policy) == 64, "published layout, version 1");

struct thinp_opq; /* opaque: defined in src/op_queue */

/** The policy of a name: "fifo" (the default: in the order of arrival), "coalescing" (by block; neighbours of one kind
 *  merged, an INC with the DEC that follows it dropped), "sorted" (by block, then in the order of arrival) or "lifo" (the
 *  last one first: breaks the contract, to show what happens then). "coalescing" and "sorted" cut ranges where they overlap.
 *  A merged operation has number and cause of the first of its parts.
 *
 *  @param name  the name; NULL is the name of none
 *  @return static table; NULL: no such policy
 */
THINP_API const struct thinp_opq_policy *thinp_opq_policy_by_name(const char *name);

/** Make a queue.
 *
 *  @param policy      the order; NULL: fifo. Copied; its ctx must outlive the queue
 *  @param allocator   NULL: libc; must outlive the queue
 *  @param[out] queue  the queue
 *  @retval 0             done
 *  @retval THINP_ENOMEM  no memory
 *  @retval THINP_EINVAL  a function is missing
 *  @retval THINP_ENOTSUP the table asks for something newer than this library
 *  @return or what the policy's create() returned
 */
THINP_API int thinp_opq_create(const struct thinp_opq_policy *policy, const struct thinp_allocator *allocator,
			       struct thinp_opq **queue);

/** Release a queue, and what is pending in it.
 *
 *  @param queue  the queue; NULL is allowed
 */
THINP_API void thinp_opq_destroy(struct thinp_opq *queue);

/** The name of the queue's policy.
 *
 *  @param queue  the queue
 *  @return the text that came with the policy
 */
THINP_API const char *thinp_opq_policy_name(const struct thinp_opq *queue);

/** Put an operation in. When that fails, nothing has changed.
 *
 *  @param queue  the queue
 *  @param op     the operation; copied
 *  @retval 0                done
 *  @retval THINP_ENOMEM     no memory; also when 58 are pending for one of its blocks, for the ledger tells the order of so
 *                           many. Taking operations out helps
 *  @retval THINP_EINVAL     neither INC nor DEC, no blocks, or a range beyond 2^64-1
 *  @retval THINP_EREFCOUNT  the queue has failed before, or the policy is empty though something is pending
 *  @return or what the policy's push() or create() returned
 */
THINP_API int thinp_opq_push(struct thinp_opq *queue, const struct thinp_op *op);

/** Take the next operation out, when the ledger agrees. From now on thinp_opq_delta() leaves it out, so apply it before
 *  anybody asks for a count.
 *
 *  The queue's own policies need no memory for it.
 *
 *  @param queue    the queue
 *  @param[out] op  the operation
 *  @retval 0                done
 *  @retval THINP_ENODATA    nothing is pending
 *  @retval THINP_EREFCOUNT  the policy invented or reordered it, or has lost some: nothing that comes after can be
 *                           trusted, so the queue answers the same until it is cleared. The detail names block and
 *                           operation
 *  @retval THINP_ENOMEM     a policy of the caller's has cut a range where no operation begins or ends, and the ledger has
 *                           no memory to follow; the operation comes with the next call
 *  @return or what the policy's pop() returned; nothing has changed
 */
THINP_API int thinp_opq_pop(struct thinp_opq *queue, struct thinp_op *op);

/** What is pending for a block: increments less decrements.
 *
 *  @param queue  the queue
 *  @param block  the block
 *  @return the sum
 */
THINP_API int64_t thinp_opq_delta(const struct thinp_opq *queue, uint64_t block);

/** Tell whether nothing is pending.
 *
 *  @param queue  the queue
 *  @return true when the policy is empty, and all that it dropped adds up to nothing; false, too, when the queue has failed
 */
THINP_API bool thinp_opq_is_empty(const struct thinp_opq *queue);

/** How many operations are pending: put in, less taken out.
 *
 *  @param queue  the queue
 *  @return the number; 0 exactly when thinp_opq_is_empty(). An estimate when the policy merges, cuts or drops
 */
THINP_API uint64_t thinp_opq_nr_pending(const struct thinp_opq *queue);

/** Forget everything that is pending, and that the queue has failed. Needs no memory.
 *
 *  @param queue  the queue
 */
THINP_API void thinp_opq_clear(struct thinp_opq *queue);

#ifdef __cplusplus
}
#endif
#endif
