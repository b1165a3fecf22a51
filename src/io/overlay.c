/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/overlay.c - changes laid over a device that is left as it is.
 *
 * A block comes from the first of these that has it:
 *
 *   blocks      was written
 *   holes       was discarded; or it lies where the device once ended (from zeros_from on): zeros
 *   below       was never touched
 *
 * Locks
 *   lock  guards blocks and holes. Held for a copy of a block at most, never while the allocator or what lies below is
 *         called. A change of size needs none: the contract keeps it apart from all else.
 */
#include "io/overlay.h"

#include "base/alloc.h"
#include "base/error.h"
#include "io/backend.h"
#include "io/sectors.h"
#include "io/sparse.h"

#include <pthread.h>
#include <stdatomic.h>

/* Ranges neither overlap nor touch; in no order. There are few: discards are rare, and neighbours are joined. */
struct hole {
	struct hole *next;
	thinp_block_t begin, end;
};

struct tp_overlay {
	struct thinp_allocator allocator;
	struct tp_below below;
	_Atomic uint64_t nr_blocks;
	_Atomic uint64_t zeros_from; /* the smallest size it ever had */
	pthread_mutex_t lock;
	struct tp_sparse blocks;
	struct hole *holes;
};

static int init(struct tp_overlay *overlay, uint64_t nr_blocks)
{
	int err;
	int r;

	atomic_init(&overlay->nr_blocks, nr_blocks);
	atomic_init(&overlay->zeros_from, nr_blocks);
	tp_sparse_init(&overlay->blocks, &overlay->allocator);
	r = tp_sparse_reach(&overlay->blocks, nr_blocks);
	if (r)
		return r;
	err = pthread_mutex_init(&overlay->lock, NULL);
	return err ? tp_fail_os(err, THINP_NO_BLOCK, "overlay: no lock") : 0;
}

int tp_overlay_create(const struct thinp_allocator *allocator, const struct tp_below *below, uint64_t nr_blocks,
		      struct tp_overlay **overlay)
{
	struct tp_overlay *made = tp_alloc_zeroed(allocator, 1, sizeof(*made));
	int r;

	if (!made)
		return THINP_ENOMEM;
	made->allocator = *allocator;
	made->below = *below;
	r = init(made, nr_blocks);
	if (r)
		tp_free(allocator, made, sizeof(*made));
	else
		*overlay = made;
	return r;
}

static void free_holes(struct tp_overlay *overlay, struct hole *at)
{
	struct hole *next;

	for (; at; at = next) {
		next = at->next;
		tp_free(&overlay->allocator, at, sizeof(*at));
	}
}

void tp_overlay_destroy(struct tp_overlay *overlay)
{
	struct thinp_allocator allocator;

	if (!overlay)
		return;
	tp_sparse_cut(&overlay->blocks, 0);
	free_holes(overlay, overlay->holes);
	pthread_mutex_destroy(&overlay->lock);
	allocator = overlay->allocator;
	tp_free(&allocator, overlay, sizeof(*overlay));
}

/* --- blocks --- */

static bool is_hole(const struct tp_overlay *overlay, thinp_block_t block)
{
	for (const struct hole *at = overlay->holes; at; at = at->next)
		if (block >= at->begin && block < at->end)
			return true;
	return block >= atomic_load(&overlay->zeros_from);
}

/* Reads what the overlay itself knows of a block; false: it lies below. */
static bool read_own(struct tp_overlay *overlay, thinp_block_t block, uint8_t *buffer)
{
	const uint8_t *data;
	bool is_known;

	pthread_mutex_lock(&overlay->lock);
	data = tp_sparse_find(&overlay->blocks, block);
	is_known = data || is_hole(overlay, block);
	if (data)
		memcpy(buffer, data, THINP_BLOCK_SIZE);
	pthread_mutex_unlock(&overlay->lock);
	if (is_known && !data)
		memset(buffer, 0, THINP_BLOCK_SIZE);
	return is_known;
}

int tp_overlay_read(struct tp_overlay *overlay, thinp_block_t block, uint8_t *buffer)
{
	if (read_own(overlay, block, buffer))
		return 0;
	return overlay->below.read(overlay->below.ctx, block, buffer);
}

int tp_overlay_write(struct tp_overlay *overlay, thinp_block_t block, const uint8_t *buffer)
{
	return tp_sparse_write(&overlay->blocks, &overlay->lock, block, buffer);
}

int tp_overlay_write_sectors(struct tp_overlay *overlay, thinp_block_t block, const uint8_t *buffer, uint32_t sectors)
{
	uint8_t *merged;
	int r;

	if (sectors == TP_SECTORS_NONE)
		return 0;
	if (sectors == TP_SECTORS_ALL)
		return tp_overlay_write(overlay, block, buffer);
	merged = tp_alloc_aligned(&overlay->allocator, THINP_BLOCK_SIZE, THINP_BLOCK_SIZE);
	if (!merged)
		return THINP_ENOMEM;
	r = tp_overlay_read(overlay, block, merged);
	if (!r) {
		tp_sectors_copy(merged, buffer, sectors);
		r = tp_overlay_write(overlay, block, merged);
	}
	tp_free(&overlay->allocator, merged, THINP_BLOCK_SIZE);
	return r;
}

/* --- holes --- */

/* Takes the holes out that overlap or touch the new one, which grows over them. Under the lock. */
static struct hole *absorb(struct tp_overlay *overlay, struct hole *grown)
{
	struct hole *absorbed = NULL;
	struct hole **link = &overlay->holes;

	while (*link) {
		struct hole *at = *link;

		if (at->begin > grown->end || at->end < grown->begin) {
			link = &at->next;
			continue;
		}
		grown->begin = at->begin < grown->begin ? at->begin : grown->begin;
		grown->end = at->end > grown->end ? at->end : grown->end;
		*link = at->next;
		at->next = absorbed;
		absorbed = at;
	}
	return absorbed;
}

static int add_hole(struct tp_overlay *overlay, thinp_block_t begin, thinp_block_t end)
{
	struct hole *added = tp_alloc_zeroed(&overlay->allocator, 1, sizeof(*added));
	struct hole *absorbed;

	if (!added)
		return THINP_ENOMEM;
	added->begin = begin;
	added->end = end;
	pthread_mutex_lock(&overlay->lock);
	absorbed = absorb(overlay, added);
	added->next = overlay->holes;
	overlay->holes = added;
	pthread_mutex_unlock(&overlay->lock);
	free_holes(overlay, absorbed);
	return 0;
}

int tp_overlay_discard(struct tp_overlay *overlay, thinp_block_t begin, thinp_block_t end)
{
	thinp_block_t block = tp_sparse_skip(&overlay->blocks, begin);
	int r = add_hole(overlay, begin, end);

	while (!r && block < end) {
		tp_sparse_drop(&overlay->blocks, &overlay->lock, block);
		block = tp_sparse_skip(&overlay->blocks, block + 1);
	}
	return r;
}

/* --- size --- */

uint64_t tp_overlay_size(struct tp_overlay *overlay)
{
	return atomic_load(&overlay->nr_blocks);
}

int tp_overlay_resize(struct tp_overlay *overlay, uint64_t nr_blocks)
{
	int r = tp_sparse_reach(&overlay->blocks, nr_blocks);

	if (r)
		return r;
	tp_sparse_cut(&overlay->blocks, nr_blocks);
	if (nr_blocks < atomic_load(&overlay->zeros_from))
		atomic_store(&overlay->zeros_from, nr_blocks);
	atomic_store(&overlay->nr_blocks, nr_blocks);
	return 0;
}

/* --- as a device --- */

static int read_block(void *ctx, thinp_block_t block, uint8_t *buffer)
{
	return tp_overlay_read(ctx, block, buffer);
}

static int write_block(void *ctx, thinp_block_t block, const uint8_t *buffer)
{
	return tp_overlay_write(ctx, block, buffer);
}

static int discard_blocks(void *ctx, thinp_block_t begin, thinp_block_t end)
{
	return tp_overlay_discard(ctx, begin, end);
}

static int overlay_batch(void *ctx, struct thinp_io_op *ops, size_t nr_ops)
{
	static const struct tp_io_per_block steps = {
		.read = read_block, .write = write_block, .discard = discard_blocks};

	return tp_io_per_block(&steps, ctx, ops, nr_ops);
}

static int overlay_get_size(void *ctx, uint64_t *nr_blocks)
{
	*nr_blocks = tp_overlay_size(ctx);
	return 0;
}

static int overlay_resize(void *ctx, uint64_t nr_blocks)
{
	return tp_overlay_resize(ctx, nr_blocks);
}

static void overlay_close(void *ctx)
{
	tp_overlay_destroy(ctx);
}

int tp_overlay_open(struct tp_overlay *overlay, struct thinp_io **io)
{
	static const struct thinp_io_backend backend = {
		.size = sizeof(backend),
		.name = "rebuilt",
		.get_size = overlay_get_size,
		.batch = overlay_batch,
		.resize = overlay_resize,
		.close = overlay_close,
	};
	struct thinp_io_opts opts = {.size = sizeof(opts), .allocator = &overlay->allocator};

	return thinp_io_create(&backend, overlay, &opts, io);
}
