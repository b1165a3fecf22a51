/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 *  @brief What changes of a pool cost, and giving space back when nearly none is left.
 *
 *  Deleting a device, taking away many mappings and dropping the metadata snapshot can each need more metadata blocks in
 *  one transaction than are left. The functions here do as much of it as fits. The caller commits and calls again, until
 *  nothing is left to be done; between the calls it may tell how far it is, do something else, or stop: what each commit
 *  leaves is a sound pool, and another process can go on later.
 *
 *  A pool keeps back what the least of such steps needs. So right after a commit each of them gets on, however full the
 *  pool is, unless a view holds back what the commit freed, or another writer has filled the pool further. One step gives
 *  nothing back and is not meant: unmapping a part of what one block of metadata maps, which a snapshot maps, too. That copies
 *  the block, and needs room like any other change.
 */
#ifndef THINP_POOL_SPACE_H
#define THINP_POOL_SPACE_H

#include <thinp/pool.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What may be asked for its cost. */
enum thinp_pool_operation_kind {
	THINP_POOL_CREATE_DEVICE = 1,   /**< thinp_pool_create_device(): dev_id */
	THINP_POOL_CREATE_SNAPSHOT = 2, /**< thinp_pool_create_snapshot(): dev_id, origin_id */
	THINP_POOL_DELETE_DEVICE = 3,   /**< thinp_pool_delete_device(): dev_id */
	THINP_POOL_INSERT = 4,     /**< thinp_pool_alloc_data() and thinp_pool_insert_run(): dev_id, begin, length */
	THINP_POOL_REMOVE = 5,     /**< thinp_pool_remove_range(): dev_id, begin, length */
	THINP_POOL_HOLD = 6,       /**< thinp_pool_reserve_metadata_snap() */
	THINP_POOL_RELEASE = 7,    /**< thinp_pool_release_metadata_snap() */
	THINP_POOL_ALLOC_DATA = 8, /**< thinp_pool_alloc_data(): length */
	THINP_POOL_INC_DATA = 9,   /**< thinp_pool_inc_data(): begin, length */
	THINP_POOL_DEC_DATA = 10,  /**< thinp_pool_dec_data(): begin, length */
	THINP_POOL_GROW_DATA = 11, /**< thinp_pool_grow_data(): length, which is the new size */
	THINP_POOL_GROW_METADATA = 12, /**< thinp_pool_grow_metadata(): length, which is the new size */
};

/** A change that is not made. */
struct thinp_pool_operation {
	size_t size;        /**< sizeof(struct thinp_pool_operation), set by the caller */
	uint32_t kind;      /**< one of ::thinp_pool_operation_kind; which of the rest it uses is said there */
	uint32_t reserved;  /**< 0 */
	uint64_t dev_id;    /**< the device */
	uint64_t origin_id; /**< the device that a snapshot is made of */
	uint64_t begin;     /**< first block: virtual, or of data */
	uint64_t length;    /**< how many, at least 1; or how many there are to be */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_pool_operation) == 48, "published layout, version 1");

/** Tell how many metadata blocks a change may take at most if it were made now, with what it adds to the commit. With the first
 *  change of a transaction that is all of the commit. Most of these blocks come back with the commit, in the place of which
 *  they were taken. Nothing is changed.
 *
 *  @param pool            the pool; a transaction is open
 *  @param operation       the change
 *  @param[out] nr_blocks  the number. When thinp_sm_info::nr_available of #THINP_POOL_METADATA is less, #THINP_ENOSPC is
 *                         likely. It can also come while a little more is available: some changes look less closely
 *                         before they begin
 *  @retval 0              done
 *  @retval THINP_EINVAL   no such kind, or no length; a size smaller than it is; or no transaction is open
 *  @retval THINP_ERANGE   data blocks beyond the end, or a size that a pool cannot have
 *  @retval THINP_ENODATA  no such device
 *  @retval THINP_ENOENT   there is no metadata snapshot to be dropped
 *  @return or another code of thinp_pool_get_device()
 */
THINP_API int thinp_pool_cost(struct thinp_pool *pool, const struct thinp_pool_operation *operation,
			      uint64_t *nr_blocks);

/** What a step has done. */
struct thinp_pool_step {
	size_t size;          /**< sizeof(struct thinp_pool_step), set by whoever makes the struct */
	uint64_t nr_removed;  /**< mappings that are gone */
	uint32_t is_complete; /**< 1: nothing is left to be done; 0: call again, after a commit if there was no room */
	uint32_t reserved;    /**< 0 */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_pool_step) == 24, "published layout, version 1");

/** Take away mappings of a range, the first ones first: as many as there is room for.
 *
 *  @param pool           the pool
 *  @param dev_id         the device
 *  @param first_virtual  first virtual block
 *  @param last_virtual   last one; UINT64_MAX: to the end
 *  @param max_leaves     not more than those in so many blocks of metadata, about 250 each; 0: no limit
 *  @param[in,out] step   `size` set by the caller; at most that many bytes are filled in
 *  @retval 0             done, as far as @p step tells
 *  @retval THINP_ENOSPC  not even the least step has room: commit first
 *  @return or as thinp_pool_remove_range()
 */
THINP_API int thinp_pool_remove_step(struct thinp_pool *pool, uint64_t dev_id, uint64_t first_virtual,
				     uint64_t last_virtual, uint32_t max_leaves, struct thinp_pool_step *step);

/** Delete a device, as far as there is room: its mappings, the first ones first, then the device itself. What is left of it
 *  can be used until the last step.
 *
 *  @param pool          the pool
 *  @param dev_id        the device
 *  @param max_leaves    as in thinp_pool_remove_step(); mappings that a snapshot has, too, may go all at once nevertheless
 *  @param[in,out] step  as there
 *  @return as thinp_pool_remove_step()
 */
THINP_API int thinp_pool_delete_step(struct thinp_pool *pool, uint64_t dev_id, uint32_t max_leaves,
				     struct thinp_pool_step *step);

/** Drop the metadata snapshot, as far as there is room: device by device. Who reads it meanwhile finds what is left.
 *
 *  @param pool          the pool
 *  @param max_leaves    as in thinp_pool_delete_step()
 *  @param[in,out] step  as there
 *  @retval THINP_ENOENT  there is none; nothing was changed
 *  @return or as thinp_pool_remove_step()
 */
THINP_API int thinp_pool_release_step(struct thinp_pool *pool, uint32_t max_leaves, struct thinp_pool_step *step);

#ifdef __cplusplus
}
#endif
#endif
