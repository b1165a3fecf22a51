/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 *  @brief The transaction manager: new blocks, shadow blocks, and the rule that keeps the last commit whole.
 *
 *  A block that the last commit can reach is never written. To change one, it is *shadowed*: copied to a new address, or,
 *  when it was made in this very transaction and nobody shares it, changed in place. Whoever shadows a block puts the new
 *  address where the old one stood, which shadows the parent, and so on up to the root.
 *
 *  When a shared block is copied, original and copy both point to what is below it: `inc_children` then tells the caller
 *  to count these references.
 *
 *  Any failure in the middle of a change leaves it half done. The transaction is then marked: every further change and
 *  thinp_tm_status() answer #THINP_EMUSTABORT, until it is aborted. Failures that the functions call "nothing was changed"
 *  do not mark it.
 *
 *  Changing a block again that was shadowed before in the same transaction is cheap: no copy, no count, no lock. So it is
 *  best to shadow and unlock for each small change, and to keep few blocks locked.
 *
 *  One thread at a time uses a transaction manager. Ending a transaction is up to the owner of block manager, space maps
 *  and superblock: a store.
 */
#ifndef THINP_TRANSACTION_H
#define THINP_TRANSACTION_H

#include <thinp/alloc.h>
#include <thinp/block.h>
#include <thinp/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct thinp_tm; /* opaque: defined in src/transaction */

/** Make a transaction manager; its first transaction is open.
 *
 *  @param bm       the block manager; must outlive it
 *  @param alloc    where blocks come from; copied, its ctx must outlive it
 *  @param[out] tm  the transaction manager
 *  @retval 0              done
 *  @retval THINP_ENOMEM   no memory
 *  @retval THINP_EINVAL   a function is missing
 *  @retval THINP_ENOTSUP  the table asks for something newer than this library
 *  @retval THINP_EIO      the device does not tell its size
 */
THINP_API int thinp_tm_create(struct thinp_bm *bm, const struct thinp_alloc *alloc, struct thinp_tm **tm);

/** Release a transaction manager. What was changed and not committed is to be aborted by the owner of the block manager.
 *
 *  @param tm  the transaction manager; NULL is allowed
 */
THINP_API void thinp_tm_destroy(struct thinp_tm *tm);

/** A reader that sees the open transaction. For the thread that changes it, between its changes.
 *
 *  @param tm  the transaction manager, which owns it
 *  @return the reader
 */
THINP_API struct thinp_reader *thinp_tm_reader(struct thinp_tm *tm);

/** Tell whether changes are still possible.
 *
 *  @param tm  the transaction manager
 *  @retval 0                 yes
 *  @retval THINP_EMUSTABORT  no: a change failed half way
 */
THINP_API int thinp_tm_status(const struct thinp_tm *tm);

/** Mark the transaction: it can only be aborted. For layers of the caller's own whose change failed half way.
 *
 *  @param tm    the transaction manager
 *  @param code  why; kept for the detail of later refusals
 *  @return @p code
 */
THINP_API int thinp_tm_poison(struct thinp_tm *tm, int code);

/** How often something was changed. Who remembers something about the open transaction can tell by it that it may be out
 *  of date.
 *
 *  @param tm  the transaction manager
 *  @return a number that grows
 */
THINP_API uint64_t thinp_tm_generation(const struct thinp_tm *tm);

/** Tell whether a change that takes so many blocks can be made, and committed. Nothing is changed.
 *
 *  @param tm         the transaction manager
 *  @param nr_blocks  the most it may take
 *  @param flags      0 or #THINP_RESERVE_RELEASE
 *  @retval 0                 yes
 *  @retval THINP_ENOSPC      no
 *  @retval THINP_ENOTSUP     unknown flags
 *  @retval THINP_EROFS       the device is read-only
 *  @retval THINP_EMUSTABORT  an earlier change failed half way
 */
THINP_API int thinp_tm_reserve(struct thinp_tm *tm, uint64_t nr_blocks, uint32_t flags);

/** Make a new block: zeros, with one reference, which is the caller's.
 *
 *  @param tm           the transaction manager
 *  @param type         its kind; must live as long as the block manager
 *  @param cause        one of ::thinp_op_cause
 *  @param[out] block   its address
 *  @param[out] buffer  to be given to thinp_tm_unlock()
 *  @param[out] data    its 4096 bytes, valid until then
 *  @retval 0                 done
 *  @retval THINP_ENOSPC      no block left; nothing was changed
 *  @retval THINP_ENOMEM      no memory, or all buffers are in use; nothing was changed
 *  @retval THINP_EROFS       the device is read-only
 *  @retval THINP_EMUSTABORT  an earlier change failed half way
 *  @return or another failure of what gives the blocks: nothing was changed; or another code of
 *          thinp_bm_write_lock_zero(): the transaction can only be aborted. thinp_tm_status() tells
 */
THINP_API int thinp_tm_new_block(struct thinp_tm *tm, const struct thinp_block_type *type, uint32_t cause,
				 thinp_block_t *block, struct thinp_buffer **buffer, void **data);

/** Get a block to be changed: itself when it was made in this transaction and is not shared, else a copy of it, which takes
 *  over the caller's reference to the original.
 *
 *  @param tm                 the transaction manager
 *  @param block              the block
 *  @param type               its kind
 *  @param cause              one of ::thinp_op_cause
 *  @param[out] new_block     where the change goes; may be @p block
 *  @param[out] buffer        to be given to thinp_tm_unlock()
 *  @param[out] data          its 4096 bytes, valid until then
 *  @param[out] inc_children  the original lives on: the caller must raise the counts of all that the block points to
 *  @retval 0                 done
 *  @retval THINP_ECORRUPT    the block fails its check, or is beyond the end; nothing was changed
 *  @retval THINP_EIO         it cannot be read: nothing was changed; or a block could not be written to make room: the
 *                            transaction can only be aborted. thinp_tm_status() tells
 *  @retval THINP_ENOSPC      no block left; nothing was changed. Or no room for a write: as above
 *  @retval THINP_ENOMEM      no memory, or all buffers are in use; nothing was changed
 *  @retval THINP_EINVAL      the block is locked already; nothing was changed
 *  @retval THINP_EREFCOUNT   nobody has a reference to the block; nothing was changed
 *  @retval THINP_EROFS       the device is read-only
 *  @retval THINP_EMUSTABORT  an earlier change failed half way
 *  @return or another failure of what gives the blocks: nothing was changed, unless thinp_tm_status() says so; or another
 *          code of thinp_bm_write_lock(): the transaction can only be aborted
 */
THINP_API int thinp_tm_shadow_block(struct thinp_tm *tm, thinp_block_t block, const struct thinp_block_type *type,
				    uint32_t cause, thinp_block_t *new_block, struct thinp_buffer **buffer, void **data,
				    bool *inc_children);

/** End the change of a block.
 *
 *  @param tm      the transaction manager
 *  @param buffer  what new or shadow gave; NULL is allowed
 */
THINP_API void thinp_tm_unlock(struct thinp_tm *tm, struct thinp_buffer *buffer);

/** Add a reference to each of some neighbouring metadata blocks: for example to a root, which makes a snapshot of its
 *  tree. They are not changed in place any more in this transaction, also when the reference goes again.
 *
 *  @param tm         the transaction manager
 *  @param first      first block
 *  @param nr_blocks  how many
 *  @param cause      one of ::thinp_op_cause
 *  @retval 0                 done
 *  @retval THINP_EREFCOUNT   a count would leave 0..2^32-1; nothing was changed
 *  @retval THINP_ERANGE      beyond the end of the metadata; nothing was changed
 *  @retval THINP_ENOMEM      no memory; nothing was changed
 *  @retval THINP_EROFS       the device is read-only
 *  @retval THINP_EMUSTABORT  an earlier change failed half way
 *  @return or a failure of the device; nothing was changed
 */
THINP_API int thinp_tm_inc(struct thinp_tm *tm, thinp_block_t first, uint64_t nr_blocks, uint32_t cause);

/** Drop a reference to each of some neighbouring metadata blocks. What they point to is the caller's business: see
 *  thinp_btree_del() for whole trees. A block of this transaction that nobody uses any more is not written; one that is
 *  locked is still to be unlocked.
 *
 *  @param tm         the transaction manager
 *  @param first      first block
 *  @param nr_blocks  how many
 *  @param cause      one of ::thinp_op_cause
 *  @return as thinp_tm_inc()
 */
THINP_API int thinp_tm_dec(struct thinp_tm *tm, thinp_block_t first, uint64_t nr_blocks, uint32_t cause);

/** The number of references to a metadata block.
 *
 *  @param tm          the transaction manager
 *  @param block       the block
 *  @param[out] count  the number
 *  @retval 0             done
 *  @retval THINP_ERANGE  beyond the end of the metadata
 *  @return or a failure of the device
 */
THINP_API int thinp_tm_count(struct thinp_tm *tm, thinp_block_t block, uint32_t *count);

/** Begin the next transaction, after the owner has committed or aborted the one before: nothing is a shadow any more, the
 *  mark of a failed change is gone, and the reader sees as much as the device has now. Not to be left out: what was a
 *  shadow before would be changed in place.
 *
 *  @param tm  the transaction manager; no block may be locked
 */
THINP_API void thinp_tm_begin(struct thinp_tm *tm);

#ifdef __cplusplus
}
#endif
#endif
