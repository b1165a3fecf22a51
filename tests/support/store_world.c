/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/store_world.c - a store over a device that fails on demand and keeps a log, and what must be in it.
 */
#include "support/store_world.h"

#include "base/bytes.h"
#include "space_map/read.h"
#include "store/view.h"
#include "support/meta_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unit/base/random.h"

const struct thinp_btree_type store_world_tree = {
	.size = sizeof(store_world_tree), .nr_levels = 1, .value_size = STORE_VALUE_SIZE};

/* --- one slot ----------------------------------------------------------------------------------------------------------- */

static const struct thinp_block_type one_slot_type = {
	.size = sizeof(one_slot_type), .name = "test superblock", .csum_xor = 4711, .address_offset = 8};

static const struct thinp_block_type *get_one_slot_type(void)
{
	return &one_slot_type;
}

static int unpack_one(void *ctx, const void *data, struct tp_store_maps *maps)
{
	struct tp_store_superblock *sb = ctx;

	tp_store_superblock_unpack(data, sb);
	maps->commit = sb->commit;
	maps->metadata = sb->metadata_sm;
	maps->is_for_readers = false;
	memcpy(maps->data, sb->maps, sizeof(sb->maps));
	return 0;
}

static void pack_one(const void *ctx, const struct tp_store_maps *maps, void *data)
{
	struct tp_store_superblock sb = *(const struct tp_store_superblock *)ctx;

	sb.commit = maps->commit;
	sb.metadata_sm = maps->metadata;
	memcpy(sb.maps, maps->data, sizeof(sb.maps));
	tp_store_superblock_pack(&sb, data);
}

const struct tp_store_format store_world_one_slot = {
	.name = "test", .type = get_one_slot_type, .nr_slots = 1, .unpack = unpack_one, .pack = pack_one};

/* --- opening and closing ------------------------------------------------------------------------------------------------- */

int store_world_open_on(struct store_world *w, struct thinp_io *io, uint32_t flags, struct thinp_store **store)
{
	struct thinp_store_opts opts = w->opts;

	opts.flags |= flags;
	return tp_store_open(io, &opts, w->format, NULL, store);
}

void store_world_begin(struct store_world *w, uint64_t nr_blocks, const struct thinp_store_opts *opts,
		       const struct tp_store_format *format)
{
	struct thinp_io_opts memory = {.size = sizeof(memory), .nr_blocks = nr_blocks};

	memset(w, 0, sizeof(*w));
	alloc_counting_init(&w->alloc);
	assert_int_equal(thinp_io_open_memory(&memory, &w->memory), 0);
	assert_int_equal(thinp_record_create(w->memory, NULL, &w->record), 0);
	assert_int_equal(thinp_record_open(w->record, NULL, &w->recorded), 0);
	assert_int_equal(thinp_fault_create(w->recorded, NULL, &w->fault), 0);
	assert_int_equal(thinp_fault_open(w->fault, NULL, &w->io), 0);
	w->format = format ? format : &tp_store_own_format;
	if (opts)
		w->opts = *opts;
	w->opts.size = sizeof(w->opts);
	w->opts.allocator = &w->alloc.table;
	assert_int_equal(store_world_open_on(w, w->io, THINP_STORE_CREATE, &w->store), 0);
}

void store_world_end(struct store_world *w)
{
	thinp_store_close(w->store);
	alloc_counting_check(&w->alloc);
	thinp_io_close(w->io);
	thinp_fault_destroy(w->fault);
	thinp_io_close(w->recorded);
	thinp_record_destroy(w->record);
	thinp_io_close(w->memory);
}

int store_world_tear_down(void **state)
{
	store_world_end(*state);
	return 0;
}

struct thinp_store_info store_world_info(struct thinp_store *store)
{
	struct thinp_store_info info = {.size = sizeof(info)};

	thinp_store_get_info(store, &info);
	return info;
}

void store_world_reopen(struct store_world *w)
{
	thinp_store_close(w->store);
	w->store = NULL;
	w->now = w->committed;
	assert_int_equal(store_world_open_on(w, w->io, 0, &w->store), 0);
}

/* --- changing ------------------------------------------------------------------------------------------------------------ */

static void make_value(uint64_t key, uint64_t number, uint8_t value[STORE_VALUE_SIZE])
{
	for (size_t i = 0; i < STORE_VALUE_SIZE; i += 8)
		tp_store_le64(value + i, number ^ (i ? key : 0));
}

/* A test format may have roots where the two slots of our own are. */
static int set_root(struct store_world *w, uint32_t index, thinp_block_t root)
{
	if (root == 1 && w->format->nr_slots == 1) {
		w->store->own.roots[index] = root;
		return 0;
	}
	return thinp_store_set_root(w->store, index, root);
}

static thinp_block_t root_of(struct thinp_store *store, uint32_t index)
{
	thinp_block_t root;

	assert_int_equal(thinp_store_get_root(store, index, &root), 0);
	return root;
}

static int get_tree(struct store_world *w, thinp_block_t *root)
{
	*root = root_of(w->store, 0);
	return *root ? 0 : thinp_btree_create(thinp_store_tm(w->store), &store_world_tree, root);
}

int store_world_insert(struct store_world *w, uint64_t first, uint64_t nr)
{
	uint8_t value[STORE_VALUE_SIZE];
	thinp_block_t root;
	bool is_new;
	int r = get_tree(w, &root);

	for (uint64_t key = first; !r && key < first + nr; key++) {
		make_value(key, w->now.number, value);
		r = thinp_btree_insert(thinp_store_tm(w->store), &store_world_tree, root, &key, value, &root, &is_new);
		if (r)
			break;
		w->now.values[key] = w->now.number;
	}
	return r ? r : set_root(w, 0, root);
}

int store_world_remove(struct store_world *w, uint64_t first, uint64_t last)
{
	thinp_block_t root;
	bool is_complete;
	int r = get_tree(w, &root);

	if (!r)
		r = thinp_btree_remove_range(thinp_store_tm(w->store), &store_world_tree, root, &first, &last, 0, &root,
					     NULL, &is_complete);
	if (r)
		return r;
	assert_true(is_complete);
	for (uint64_t key = first; key <= last; key++)
		w->now.values[key] = 0;
	return set_root(w, 0, root);
}

int store_world_drop_snapshot(struct store_world *w)
{
	thinp_block_t root = root_of(w->store, 1);
	int r = root ? thinp_btree_del(thinp_store_tm(w->store), &store_world_tree, root) : 0;

	if (r)
		return r;
	w->now.has_snapshot = false;
	memset(w->now.snapshot, 0, sizeof(w->now.snapshot));
	return set_root(w, 1, 0);
}

int store_world_snapshot(struct store_world *w)
{
	thinp_block_t root = root_of(w->store, 0);
	int r = store_world_drop_snapshot(w);

	if (r || !root)
		return r;
	r = thinp_tm_inc(thinp_store_tm(w->store), root, 1, THINP_CAUSE_USER);
	if (r)
		return r;
	w->now.has_snapshot = true;
	memcpy(w->now.snapshot, w->now.values, sizeof(w->now.values));
	return set_root(w, 1, root);
}

int store_world_drop_tree(struct store_world *w)
{
	thinp_block_t root = root_of(w->store, 0);
	int r = root ? thinp_btree_del(thinp_store_tm(w->store), &store_world_tree, root) : 0;

	if (r)
		return r;
	memset(w->now.values, 0, sizeof(w->now.values));
	return set_root(w, 0, 0);
}

int store_world_add_map(struct store_world *w)
{
	int r = thinp_store_add_map(w->store, 0, STORE_DATA);

	if (!r)
		w->now.has_map = true;
	return r;
}

int store_world_count_data(struct store_world *w, uint64_t first, uint64_t nr, int step)
{
	struct thinp_sm *map = thinp_store_map(w->store, 0);
	int r = step > 0 ? thinp_sm_inc(map, first, nr) : thinp_sm_dec(map, first, nr);

	for (uint64_t i = first; !r && i < first + nr; i++)
		w->now.data[i] += (uint32_t)step;
	return r;
}

void store_world_start(struct store_world *w)
{
	uint8_t user[THINP_STORE_USER_SIZE] = {0};

	assert_int_equal(thinp_store_begin(w->store), 0);
	w->now = w->committed;
	tp_store_le64(user, ++w->now.number);
	if (w->format->nr_slots >
	    1) /* no sector of the record stays as it was; in one slot, nothing helps against tearing */
		user[sizeof(user) - 1] = (uint8_t)w->now.number;
	assert_int_equal(thinp_store_set_user(w->store, user), 0);
}

void store_world_commit(struct store_world *w)
{
	assert_int_equal(thinp_store_commit(w->store), 0);
	w->committed = w->now;
}

void store_world_commit_some(struct store_world *w, uint64_t first, uint64_t nr)
{
	store_world_start(w);
	assert_int_equal(store_world_insert(w, first, nr), 0);
	store_world_commit(w);
}

void store_world_abort(struct store_world *w)
{
	assert_int_equal(thinp_store_abort(w->store), 0);
	w->now = w->committed;
}

static int count_some(struct store_world *w, uint64_t *rng)
{
	uint64_t block = random_next(rng) % (STORE_DATA - 8);
	int step = random_next(rng) % 3 ? 1 : -1;

	for (uint64_t i = 0; step < 0 && i < 8; i++)
		if (!w->now.data[block + i])
			return 0;
	return store_world_count_data(w, block, 8, step);
}

static int change_once(struct store_world *w, uint64_t *rng)
{
	uint64_t key = random_next(rng) % (STORE_KEYS - 64);

	switch (random_next(rng) % 16) {
	case 0:
		return store_world_snapshot(w);
	case 1:
		return store_world_drop_snapshot(w);
	case 2:
		return random_next(rng) % 8 ? 0 : store_world_drop_tree(w);
	case 3:
	case 4:
		return store_world_remove(w, key, key + random_next(rng) % 64);
	case 5:
	case 6:
	case 7:
		return w->now.has_map ? count_some(w, rng) : store_world_add_map(w);
	default:
		return store_world_insert(w, key, 1 + random_next(rng) % 32);
	}
}

int store_world_change(struct store_world *w, uint64_t *rng)
{
	uint64_t nr = 1 + random_next(rng) % 6;
	int r = 0;

	store_world_start(w);
	for (uint64_t i = 0; !r && i < nr; i++)
		r = change_once(w, rng);
	if (r) {
		struct thinp_error_info info = {.size = sizeof(info)};

		thinp_error_last(&info);
		print_message("a change failed: %s (%s)\n", thinp_err_name(r), info.message);
	}
	return r;
}

/* --- checking: content --------------------------------------------------------------------------------------------------- */

struct content {
	const uint64_t *wanted;
	uint64_t nr;
};

static int compare_span(void *ctx, const struct thinp_btree_span *span)
{
	struct content *content = ctx;
	uint8_t value[STORE_VALUE_SIZE];

	for (uint32_t i = 0; i < span->nr_entries; i++) {
		uint64_t key = tp_load_le64((const uint8_t *)span->keys_le + 8 * (size_t)i);

		if (key >= STORE_KEYS || !content->wanted[key])
			return THINP_ECORRUPT;
		make_value(key, content->wanted[key], value);
		if (memcmp(value, (const uint8_t *)span->values_le + (size_t)i * STORE_VALUE_SIZE, STORE_VALUE_SIZE))
			return THINP_ECORRUPT;
		content->nr++;
	}
	return 0;
}

static int compare_tree(struct thinp_reader *reader, thinp_block_t root, const uint64_t *wanted)
{
	struct content content = {.wanted = wanted};
	int r = root ? thinp_btree_walk(reader, &store_world_tree, root, compare_span, &content) : 0;

	for (uint64_t key = 0; !r && key < STORE_KEYS; key++)
		content.nr -= wanted[key] != 0;
	return r ? r : content.nr ? THINP_ECORRUPT : 0;
}

int store_world_read_view(struct thinp_view *view, const struct store_model *model)
{
	uint8_t user[THINP_STORE_USER_SIZE];
	thinp_block_t tree = 0, snapshot = 0;
	int r = thinp_view_get_root(view, 0, &tree);

	thinp_view_get_user(view, user);
	if (!r)
		r = thinp_view_get_root(view, 1, &snapshot);
	if (!r && (tp_load_le64(user) != model->number || (snapshot != 0) != model->has_snapshot))
		r = THINP_ECORRUPT;
	if (!r)
		r = compare_tree(thinp_view_reader(view), tree, model->values);
	if (!r)
		r = compare_tree(thinp_view_reader(view), snapshot, model->snapshot);
	for (uint64_t block = 0; !r && model->has_map && block < STORE_DATA; block++) {
		uint32_t count = 0;

		r = thinp_view_count(view, 0, block, &count);
		if (!r && count != model->data[block])
			r = THINP_ECORRUPT;
	}
	return r;
}

static void expect_content(struct thinp_store *store, const struct store_model *model)
{
	struct thinp_error_info info = {.size = sizeof(info)};
	struct thinp_view *view;
	int r;

	assert_int_equal(thinp_view_open(store, &view), 0);
	r = store_world_read_view(view, model);
	thinp_view_close(view);
	thinp_error_last(&info);
	if (r)
		fail_msg("content: %s (%s)", thinp_err_name(r), info.message);
}

/* --- checking: counts ---------------------------------------------------------------------------------------------------- */

static const char of_slots[] = "slot", of_index[] = "index", of_bitmaps[] = "bitmap";
static const struct meta_kind tree_kind = {.name = "tree", .value_size = STORE_VALUE_SIZE};
static const struct meta_kind overflow_kind = {.name = "overflow", .value_size = 4};
static const struct meta_kind data_overflow_kind = {.name = "overflow of data", .value_size = 4};

static void take_bitmaps(struct meta_check *check, const struct meta_kind *kind, const uint64_t *keys,
			 const uint8_t *values_le, uint32_t nr)
{
	(void)kind, (void)keys;
	for (uint32_t i = 0; i < nr; i++)
		meta_check_refer(check, tp_load_le64(values_le + (size_t)i * TP_INDEX_ENTRY_SIZE), of_bitmaps);
}

static const struct meta_kind data_index_kind = {
	.name = "index of data", .value_size = TP_INDEX_ENTRY_SIZE, .take = take_bitmaps};

static void refer_metadata_map(struct meta_check *check, const struct tp_sm_root *root)
{
	const struct tp_sm_view view = {.reader = check->reader, .root = *root, .kind = TP_SM_METADATA};
	struct tp_index_entry entry;

	meta_check_refer(check, root->bitmap_root, of_index);
	for (uint64_t i = 0; i * TP_BITMAP_NR_ENTRIES < root->nr_blocks; i++) {
		assert_int_equal(tp_sm_find_bitmap(&view, i, &entry), 0);
		meta_check_refer(check, entry.bitmap, of_bitmaps);
	}
	meta_check_tree(check, root->ref_count_root, &overflow_kind);
}

static void refer_all(struct meta_check *check, struct thinp_store *store)
{
	const struct tp_store_maps *maps = &store->last->maps;

	for (uint32_t slot = 0; slot < store->format->nr_slots; slot++)
		meta_check_refer(check, slot, of_slots);
	for (uint32_t i = 0; i < 2; i++)
		if (root_of(store, i))
			meta_check_tree(check, root_of(store, i), &tree_kind);
	refer_metadata_map(check, &maps->metadata);
	if (!tp_store_has_map(maps, 0))
		return;
	meta_check_tree(check, maps->data[0].bitmap_root, &data_index_kind);
	meta_check_tree(check, maps->data[0].ref_count_root, &data_overflow_kind);
}

static uint64_t nr_counted(const struct meta_check *check)
{
	uint64_t nr = 0;

	for (uint64_t block = 0; block < check->nr_blocks; block++)
		nr += check->counts[block] != 0;
	return nr;
}

void store_world_check(struct thinp_store *store, const struct store_model *model)
{
	uint64_t nr_blocks = store->last->maps.metadata.nr_blocks;
	struct thinp_reader *reader;
	struct meta_check check;

	expect_content(store, model);
	assert_int_equal(thinp_reader_create(store->bm, 0, &reader), 0);
	meta_check_begin(&check, reader, nr_blocks, 0);
	refer_all(&check, store);
	meta_check_compare_tm(&check, thinp_store_tm(store));
	assert_int_equal(nr_counted(&check), store->last->maps.metadata.nr_allocated);
	meta_check_end(&check);
	thinp_reader_destroy(reader);
}

void store_world_list_used(struct thinp_store *store, bool *is_used, uint64_t nr_blocks)
{
	struct thinp_reader *reader;
	struct meta_check check;

	assert_int_equal(thinp_reader_create(store->bm, 0, &reader), 0);
	meta_check_begin(&check, reader, nr_blocks, 0);
	refer_all(&check, store);
	for (uint64_t block = 0; block < nr_blocks; block++)
		is_used[block] = check.counts[block] && block >= store->format->nr_slots;
	meta_check_end(&check);
	thinp_reader_destroy(reader);
}

/* --- the device ---------------------------------------------------------------------------------------------------------- */

uint64_t store_world_nr_writes(struct store_world *w)
{
	uint64_t nr = 0;

	for (uint64_t i = 0; i < thinp_record_nr_entries(w->record); i++) {
		struct thinp_record_entry entry = {.size = sizeof(entry)};

		assert_int_equal(thinp_record_get_entry(w->record, i, &entry), 0);
		nr += entry.kind != THINP_RECORD_FLUSH && entry.kind != THINP_RECORD_MARK;
	}
	return nr;
}

void store_world_peek(struct store_world *w, thinp_block_t block, void *data)
{
	assert_int_equal(thinp_io_read(w->recorded, block, 1, data), 0);
}

void store_world_poke(struct store_world *w, thinp_block_t block, const void *data)
{
	assert_int_equal(thinp_io_write(w->recorded, block, 1, data), 0);
}

void store_world_rot(struct store_world *w, thinp_block_t block)
{
	uint8_t *data = aligned_alloc(THINP_BLOCK_SIZE, THINP_BLOCK_SIZE);

	assert_non_null(data);
	store_world_peek(w, block, data);
	data[777] ^= 4;
	store_world_poke(w, block, data);
	free(data);
}
