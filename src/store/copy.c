/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * store/copy.c - a view becomes a store of its own on another device.
 *
 * The new store is an ordinary one in one transaction, which makes its blocks and counts them. Data maps are copied as what
 * they are, trees over bitmaps, and opened where they have come to lie.
 */
#include "store/copy_graph.h"
#include "store/view.h"

#include "base/alloc.h"
#include "base/opts.h"
#include "format/node.h"
#include "format/space_map.h"

#include <string.h>

static int check_root(const struct thinp_copy_root *root, uint32_t *seen)
{
	uint32_t bit = root->index < THINP_STORE_NR_ROOTS ? UINT32_C(1) << root->index : 0;
	bool is_tree = root->kind == THINP_ROOT_TREE && root->nr_levels && root->nr_levels <= TP_COPY_MAX_LEVELS &&
		       tp_node_max_entries(root->value_size);
	bool is_array = root->kind == THINP_ROOT_ARRAY && !root->nr_levels && !root->value_size;

	if (!bit || *seen & bit || !(is_tree || is_array))
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "root %u is described wrongly or twice", root->index);
	*seen |= bit;
	return 0;
}

/* Is everything described that the view has? */
static int check_roots(const struct thinp_view *view, const struct thinp_copy_opts *opts)
{
	uint32_t seen = 0;
	int r = 0;

	for (uint32_t i = 0; i < opts->nr_roots && !r; i++)
		r = check_root(&opts->roots[i], &seen);
	for (uint32_t i = 0; i < THINP_STORE_NR_ROOTS && !r; i++) {
		thinp_block_t root;

		r = thinp_view_get_root(view, i, &root);
		if (!r && root && !(seen >> i & 1))
			r = tp_fail(THINP_EINVAL, root, "root %u is not described", i);
	}
	return r;
}

static int take_opts(const struct thinp_view *view, const struct thinp_copy_opts *user_opts,
		     struct thinp_copy_opts *opts)
{
	int r = tp_opts_take(opts, sizeof(*opts), user_opts);

	if (!r && opts->flags & ~(THINP_STORE_OVERWRITE | THINP_STORE_HUGE_PAGES))
		r = tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "unknown flags %#x for a copy", opts->flags);
	if (!r && view->store->format != &tp_store_own_format)
		r = tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "only a store's own format can be copied");
	return r ? r : check_roots(view, opts);
}

/* --- the parts of a store --- */

static int copy_described(struct tp_copy *copy, const struct thinp_view *view, const struct thinp_copy_root *root,
			  struct thinp_store *to)
{
	const struct tp_copy_shape array = {.nr_levels = 1, .value_size = 8, .end = thinp_block_type_array()};
	const struct tp_copy_shape tree = {.nr_levels = root->nr_levels, .value_size = root->value_size};
	thinp_block_t place;
	int r = thinp_view_get_root(view, root->index, &place);

	if (r || !place)
		return r;
	r = tp_copy_root(copy, root->kind == THINP_ROOT_ARRAY ? &array : &tree, place, &place);
	return r ? r : thinp_store_set_root(to, root->index, place);
}

static int copy_map(struct tp_copy *copy, const struct tp_sm_root *root, struct thinp_store *to, uint32_t index)
{
	const struct tp_copy_shape bitmaps = {
		.nr_levels = 1, .value_size = TP_INDEX_ENTRY_SIZE, .end = thinp_block_type_bitmap()};
	const struct tp_copy_shape large_counts = {.nr_levels = 1, .value_size = 4};
	const struct tp_sm_opts opts = {.allocator = &to->allocator};
	struct tp_sm_root new_root = *root;
	int r = tp_copy_root(copy, &bitmaps, root->bitmap_root, &new_root.bitmap_root);

	if (!r)
		r = tp_copy_root(copy, &large_counts, root->ref_count_root, &new_root.ref_count_root);
	return r ? r : tp_sm_open_data(to->reader, &new_root, to->metadata, &opts, &to->maps[index]);
}

static int copy_all(struct tp_copy *copy, const struct thinp_view *view, const struct thinp_copy_opts *opts,
		    struct thinp_store *to)
{
	const struct tp_store_maps *maps = &view->commit->maps;
	uint8_t user[THINP_STORE_USER_SIZE];
	int r;

	thinp_view_get_user(view, user);
	r = thinp_store_set_user(to, user);
	for (uint32_t i = 0; i < opts->nr_roots && !r; i++)
		r = copy_described(copy, view, &opts->roots[i], to);
	for (uint32_t i = 0; i < THINP_STORE_NR_MAPS && !r; i++)
		if (tp_store_has_map(maps, i))
			r = copy_map(copy, &maps->data[i], to, i);
	return r;
}

static int fill(const struct thinp_view *view, const struct thinp_copy_opts *opts, struct thinp_store *to)
{
	struct tp_copy copy = {
		.allocator = view->store->allocator,
		.reader = view->reader,
		.nr_blocks = view->commit->maps.metadata.nr_blocks,
		.tm = to->tm,
		.progress = opts->progress,
		.progress_ctx = opts->progress_ctx,
		.nr_expected = view->commit->maps.metadata.nr_allocated,
	};
	int r = tp_copy_init(&copy);

	if (!r)
		r = thinp_store_begin(to);
	if (!r)
		r = copy_all(&copy, view, opts, to);
	tp_copy_exit(&copy);
	return r ? r : thinp_store_commit(to);
}

/* Nobody may take what has come about so far for the copy. After THINP_EUNKNOWN it may be the copy. */
static void undo(struct thinp_store *to)
{
	struct thinp_error_info why = {.size = sizeof(why)};

	thinp_error_last(&why);
	if (tp_store_clear_slots(to))
		tp_error_restore(&why);
}

/* Where a store would be there must be zeros. */
static int check_empty(const struct thinp_store *from, struct thinp_io *io)
{
	const size_t nbytes = (size_t)TP_STORE_NR_SLOTS * THINP_BLOCK_SIZE;
	uint8_t *data = tp_alloc_aligned(&from->allocator, nbytes, THINP_BLOCK_SIZE);
	int r;

	if (!data)
		return THINP_ENOMEM;
	r = thinp_io_read(io, 0, TP_STORE_NR_SLOTS, data);
	if (!r && (data[0] || memcmp(data, data + 1, nbytes - 1)))
		r = tp_fail(THINP_EINVAL, 0, "there is something already where the copy is to be");
	tp_free(&from->allocator, data, nbytes);
	return r;
}

int thinp_view_copy(struct thinp_view *view, struct thinp_io *io, const struct thinp_copy_opts *user_opts)
{
	struct thinp_store_opts store_opts = {.size = sizeof(store_opts), .allocator = &view->store->allocator};
	struct thinp_copy_opts opts;
	struct thinp_store *to;
	int r = take_opts(view, user_opts, &opts);

	if (r)
		return r;
	if (io == view->store->io)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "a store cannot be copied over itself");
	store_opts.flags = THINP_STORE_OVERWRITE | opts.flags;
	store_opts.cache_blocks = opts.cache_blocks;
	r = opts.flags & THINP_STORE_OVERWRITE ? 0 : check_empty(view->store, io);
	if (!r)
		r = thinp_store_open(io, &store_opts, &to);
	if (r)
		return r;
	r = fill(view, &opts, to);
	if (r && r != THINP_EUNKNOWN)
		undo(to);
	thinp_store_close(to);
	return r;
}
