/* SPDX-License-Identifier: BSD-3-Clause */
#include "support/space_map_fixture.h"

#include "base/crc32c.h"
#include "format/node.h"
#include "format/thin.h"
#include "space_map/read.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <thinp/btree.h>

static const struct thinp_block_type record_type = {
	.size = sizeof(record_type), .name = "record of a test", .csum_xor = 4711, .address_offset = 8};

/* --- opening and closing --- */

static void open_manager(struct sm_fixture *f)
{
	struct thinp_bm_opts opts = {.size = sizeof(opts), .cache_blocks = 8192, .allocator = &f->alloc.table};

	assert_int_equal(thinp_bm_create(f->io, &opts, &f->bm), 0);
	assert_int_equal(thinp_reader_create(f->bm, 0, &f->reader), 0);
}

static void open_maps(struct sm_fixture *f, const struct tp_sm_root *meta, const struct tp_sm_root *data)
{
	struct thinp_alloc table = {.size = sizeof(table)};

	assert_int_equal(tp_sm_open_metadata(f->reader, meta, &f->opts, &f->meta.sm), 0);
	assert_int_equal(tp_sm_open_data(f->reader, data, f->meta.sm, &f->opts, &f->data.sm), 0);
	thinp_sm_get_alloc(f->meta.sm, &table);
	assert_int_equal(thinp_tm_create(f->bm, &table, &f->tm), 0);
}

static void close_all(struct sm_fixture *f)
{
	thinp_tm_destroy(f->tm);
	tp_sm_close(f->data.sm);
	tp_sm_close(f->meta.sm);
	thinp_reader_destroy(f->reader);
	thinp_bm_destroy(f->bm);
}

static void model_init(struct sm_model *m, uint64_t nr_most)
{
	m->counts = calloc(nr_most + 1, sizeof(*m->counts));
	m->committed = calloc(nr_most + 1, sizeof(*m->committed));
	assert_non_null(m->counts);
	assert_non_null(m->committed);
}

static struct sm_fixture *fixture_new(uint64_t nr_most, const struct thinp_opq_policy *policy, bool queue_always)
{
	struct thinp_io_opts io = {.size = sizeof(io), .nr_blocks = nr_most};
	struct sm_fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->nr_most = nr_most;
	alloc_counting_init(&f->alloc);
	assert_int_equal(thinp_io_open_memory(&io, &f->memory), 0);
	assert_int_equal(thinp_fault_create(f->memory, NULL, &f->fault), 0);
	assert_int_equal(thinp_fault_open(f->fault, NULL, &f->io), 0);
	f->opts = (struct tp_sm_opts){.allocator = &f->alloc.table, .policy = policy, .queue_always = queue_always};
	model_init(&f->meta, nr_most);
	model_init(&f->data, nr_most);
	f->sums = calloc(nr_most + 1, sizeof(*f->sums));
	assert_non_null(f->sums);
	return f;
}

struct sm_fixture *sm_fixture_new(uint64_t nr_metadata, uint64_t nr_data, uint64_t nr_most,
				  const struct thinp_opq_policy *policy, bool queue_always)
{
	struct sm_fixture *f = fixture_new(nr_most, policy, queue_always);

	open_manager(f);
	open_maps(f, NULL, NULL);
	assert_int_equal(sm_extend(f, &f->meta, nr_metadata), 0);
	f->meta.counts[0] = 1;
	assert_int_equal(sm_extend(f, &f->data, nr_data), 0);
	assert_int_equal(sm_commit(f), 0);
	return f;
}

void sm_fixture_free(struct sm_fixture *f)
{
	close_all(f);
	alloc_counting_check(&f->alloc);
	thinp_io_close(f->io);
	thinp_fault_destroy(f->fault);
	thinp_io_close(f->memory);
	free(f->meta.counts);
	free(f->meta.committed);
	free(f->data.counts);
	free(f->data.committed);
	free(f->sums);
	free(f);
}

void sm_reopen(struct sm_fixture *f)
{
	close_all(f);
	open_manager(f);
	open_maps(f, &f->meta.root, &f->data.root);
	memcpy(f->meta.counts, f->meta.committed, f->nr_most * sizeof(uint32_t));
	memcpy(f->data.counts, f->data.committed, f->nr_most * sizeof(uint32_t));
	f->meta.nr = f->meta.nr_committed;
	f->data.nr = f->data.nr_committed;
}

/* --- reading all again --- */

struct recount {
	struct thinp_reader *reader;
	uint32_t *refs; /* of metadata blocks */
	uint64_t nr_keys;
	bool is_foreign;
};

static void recount_block(struct recount *c, thinp_block_t block, const struct thinp_block_type *type, void *copy)
{
	struct thinp_read_section section;
	const void *data;

	assert_true(block && block < thinp_reader_nr_blocks(c->reader));
	c->refs[block]++;
	thinp_read_begin(c->reader, &section);
	assert_int_equal(thinp_read_block(&section, block, type, &data), 0);
	memcpy(copy, data, THINP_BLOCK_SIZE);
	thinp_read_end(&section);
}

static void recount_tree(struct recount *c, thinp_block_t root)
{
	uint8_t *node = malloc(THINP_BLOCK_SIZE);

	assert_non_null(node);
	recount_block(c, root, thinp_block_type_node(), node);
	for (uint32_t i = 0; i < tp_node_nr_entries(node); i++) {
		if (!tp_node_is_leaf(node))
			recount_tree(c, tp_node_value64(node, i));
		else
			c->nr_keys++;
	}
	free(node);
}

static void check_entry(struct recount *c, const struct tp_index_entry *entry, uint64_t *nr_large)
{
	uint8_t block[THINP_BLOCK_SIZE], counts[SM_PER_BITMAP];
	uint32_t nr_free = 0, first = SM_PER_BITMAP;

	recount_block(c, entry->bitmap, thinp_block_type_bitmap(), block);
	tp_bitmap_unpack(block, counts);
	for (uint32_t i = SM_PER_BITMAP; i-- > 0;) {
		nr_free += !counts[i];
		first = counts[i] ? first : i;
		*nr_large += counts[i] == 3;
	}
	assert_int_equal(entry->nr_free, nr_free);
	if (c->is_foreign)
		assert_in_range(entry->none_free_before, 0, first);
	else
		assert_int_equal(entry->none_free_before, first);
}

static uint64_t nr_bitmaps(uint64_t nr_blocks)
{
	return (nr_blocks + SM_PER_BITMAP - 1) / SM_PER_BITMAP;
}

static void recount_metadata_index(struct recount *c, const struct tp_sm_root *root, uint64_t *nr_large)
{
	uint8_t block[THINP_BLOCK_SIZE];
	struct tp_index index;

	recount_block(c, root->bitmap_root, thinp_block_type_index(), block);
	tp_index_unpack(block, &index);
	assert_int_equal(index.block, root->bitmap_root);
	for (uint64_t i = 0; i < TP_INDEX_NR_ENTRIES; i++) {
		if (i < nr_bitmaps(root->nr_blocks))
			check_entry(c, &index.entries[i], nr_large);
		else /* SMM-15: zeros behind */
			assert_true(!index.entries[i].bitmap && !index.entries[i].nr_free &&
				    !index.entries[i].none_free_before);
	}
}

static void recount_data_index(struct recount *c, const struct tp_sm_root *root, uint64_t *nr_large)
{
	struct thinp_btree_type type = {.size = sizeof(type), .nr_levels = 1, .value_size = TP_INDEX_ENTRY_SIZE};
	uint8_t value[TP_INDEX_ENTRY_SIZE];
	struct tp_index_entry entry;

	recount_tree(c, root->bitmap_root);
	assert_int_equal(c->nr_keys, nr_bitmaps(root->nr_blocks));
	for (uint64_t i = 0; i < nr_bitmaps(root->nr_blocks); i++) {
		assert_int_equal(thinp_btree_lookup(c->reader, &type, root->bitmap_root, &i, value), 0);
		tp_index_entry_unpack(value, &entry);
		check_entry(c, &entry, nr_large);
	}
}

static void recount_map(struct recount *c, const struct tp_sm_root *root, enum tp_sm_kind kind)
{
	uint64_t nr_large = 0;

	c->nr_keys = 0;
	if (kind == TP_SM_METADATA)
		recount_metadata_index(c, root, &nr_large);
	else
		recount_data_index(c, root, &nr_large);
	c->nr_keys = 0;
	recount_tree(c, root->ref_count_root);
	assert_int_equal(c->nr_keys, nr_large);
}

struct comparison {
	const uint32_t *counts, *more;
	uint64_t nr_used, next;
};

static int compare_run(void *ctx, uint64_t begin, uint64_t end, uint32_t count)
{
	struct comparison *c = ctx;

	assert_int_equal(begin, c->next);
	for (uint64_t b = begin; b < end; b++) {
		uint32_t wanted = c->counts[b] + (c->more ? c->more[b] : 0);

		if (wanted != count)
			fail_msg("block %llu has count %u, expected %u (%u of these by the test)",
				 (unsigned long long)b, count, wanted, c->counts[b]);
		c->nr_used += count != 0;
	}
	c->next = end;
	return 0;
}

static void compare(struct thinp_reader *reader, const struct sm_model *m, enum tp_sm_kind kind, const uint32_t *more)
{
	struct tp_sm_view view = {.reader = reader, .root = m->root, .kind = kind};
	struct comparison c = {.counts = m->counts, .more = more};

	assert_int_equal(m->root.nr_blocks, m->nr);
	assert_int_equal(tp_sm_walk(&view, 0, m->nr, compare_run, &c), 0);
	assert_int_equal(c.next, m->nr);
	assert_int_equal(m->root.nr_allocated, c.nr_used);
}

static uint32_t sum_of(struct sm_fixture *f, thinp_block_t block)
{
	static _Alignas(THINP_BLOCK_SIZE) uint8_t data[THINP_BLOCK_SIZE];

	assert_int_equal(thinp_io_read(f->memory, block, 1, data), 0);
	return tp_crc32c(0, data, sizeof(data)) | 1;
}

/* PREVCHECK of the defect history: no block of the commit before was written. */
static void check_previous(struct sm_fixture *f)
{
	for (uint64_t b = 1; f->has_sums && b < f->nr_most; b++) {
		if (f->sums[b])
			assert_int_equal(sum_of(f, b), f->sums[b]);
	}
}

static void remember(struct sm_fixture *f, const uint32_t *refs)
{
	for (uint64_t b = 1; b < f->nr_most; b++)
		f->sums[b] = refs[b] ? sum_of(f, b) : 0;
	f->has_sums = true;
}

void sm_check(struct sm_fixture *f)
{
	struct recount c = {.refs = calloc(f->nr_most + 1, sizeof(uint32_t)), .is_foreign = f->is_foreign};
	struct thinp_bm *bm;

	assert_non_null(c.refs);
	assert_int_equal(thinp_bm_create(f->memory, NULL, &bm), 0);
	assert_int_equal(thinp_reader_create(bm, 0, &c.reader), 0);
	recount_map(&c, &f->meta.root, TP_SM_METADATA);
	recount_map(&c, &f->data.root, TP_SM_DATA);
	compare(c.reader, &f->meta, TP_SM_METADATA, c.refs);
	compare(c.reader, &f->data, TP_SM_DATA, NULL);
	thinp_reader_destroy(c.reader);
	thinp_bm_destroy(bm);
	check_previous(f);
	remember(f, c.refs);
	free(c.refs);
	assert_int_equal(sm_info(&f->meta).nr_zero, f->meta.root.nr_blocks - f->meta.root.nr_allocated);
}

/* --- images of kernels --- */

static int note_run(void *ctx, uint64_t begin, uint64_t end, uint32_t count)
{
	uint32_t *counts = ctx;

	for (uint64_t b = begin; b < end; b++)
		counts[b] += count;
	return 0;
}

/* What the image has is what the model has. */
static void adopt(struct sm_fixture *f, struct sm_model *m, enum tp_sm_kind kind)
{
	struct tp_sm_view view = {.reader = f->reader, .root = m->root, .kind = kind};

	assert_in_range(m->root.nr_blocks, 1, f->nr_most);
	m->nr = m->root.nr_blocks;
	m->nr_committed = m->nr;
	assert_int_equal(tp_sm_walk(&view, 0, m->nr, note_run, m->counts), 0);
}

static void load_image(struct sm_fixture *f, const char *name)
{
	FILE *file = fopen(name, "rb");
	uint8_t *block = aligned_alloc(THINP_BLOCK_SIZE, THINP_BLOCK_SIZE);
	uint64_t nr = 0;

	assert_non_null(file);
	assert_non_null(block);
	for (; nr < f->nr_most && fread(block, THINP_BLOCK_SIZE, 1, file) == 1; nr++)
		assert_int_equal(thinp_io_write(f->memory, nr, 1, block), 0);
	assert_true(nr > 0);
	free(block);
	assert_int_equal(fclose(file), 0);
}

static void read_roots(struct sm_fixture *f)
{
	struct tp_thin_superblock sb;
	struct thinp_read_section section;
	const void *data;

	thinp_read_begin(f->reader, &section);
	assert_int_equal(thinp_read_block(&section, 0, thinp_block_type_thin_superblock(), &data), 0);
	tp_thin_superblock_unpack(data, &sb);
	thinp_read_end(&section);
	f->meta.root = sb.metadata_sm;
	f->data.root = sb.data_sm;
}

/* The references of the maps themselves are theirs. */
static void leave_out_own(struct sm_fixture *f)
{
	struct recount c = {.reader = f->reader, .refs = calloc(f->nr_most + 1, sizeof(uint32_t)), .is_foreign = true};

	assert_non_null(c.refs);
	recount_map(&c, &f->meta.root, TP_SM_METADATA);
	recount_map(&c, &f->data.root, TP_SM_DATA);
	for (uint64_t b = 0; b < f->meta.nr; b++)
		f->meta.counts[b] -= c.refs[b];
	free(c.refs);
}

struct sm_fixture *sm_fixture_open_image(const char *name, uint64_t nr_most)
{
	struct sm_fixture *f = fixture_new(nr_most, NULL, false);

	load_image(f, name);
	f->is_foreign = true;
	open_manager(f);
	read_roots(f);
	adopt(f, &f->meta, TP_SM_METADATA);
	adopt(f, &f->data, TP_SM_DATA);
	leave_out_own(f);
	memcpy(f->meta.committed, f->meta.counts, nr_most * sizeof(uint32_t));
	memcpy(f->data.committed, f->data.counts, nr_most * sizeof(uint32_t));
	open_maps(f, &f->meta.root, &f->data.root);
	sm_check(f);
	return f;
}

/* --- the end of a transaction --- */

static int commit_record(struct sm_fixture *f)
{
	uint8_t block[THINP_BLOCK_SIZE] = {0};
	struct tp_sm_root meta, data;
	int r;

	tp_sm_get_root(f->data.sm, &data);
	tp_sm_get_root(f->meta.sm, &meta);
	tp_sm_root_pack(&data, block + 64);
	tp_sm_root_pack(&meta, block + 192);
	r = thinp_bm_commit(f->bm, 0, &record_type, block);
	if (r)
		return r;
	f->data.root = data;
	f->meta.root = meta;
	return 0;
}

static void model_committed(struct sm_fixture *f, struct sm_model *m)
{
	tp_sm_committed(m->sm, f->nr_commits, f->hold);
	memcpy(m->committed, m->counts, f->nr_most * sizeof(uint32_t));
	m->nr_committed = m->nr;
}

static int commit(struct sm_fixture *f)
{
	uint64_t before = sm_info(&f->meta).nr_allocatable;
	uint64_t cost = sm_info(&f->meta).commit_cost + sm_info(&f->data).commit_cost;
	int r = tp_sm_record(f->data.sm, f->tm);

	if (!r)
		r = tp_sm_record(f->meta.sm, f->tm);
	if (r)
		return r;
	f->nr_taken = before - sm_info(&f->meta).nr_allocatable;
	assert_true(f->nr_taken <= cost);
	r = commit_record(f);
	if (r)
		return r;
	f->nr_commits++;
	model_committed(f, &f->data);
	model_committed(f, &f->meta);
	thinp_tm_begin(f->tm);
	return 0;
}

int sm_commit_unchecked(struct sm_fixture *f)
{
	f->has_sums = false;
	return commit(f);
}

int sm_commit(struct sm_fixture *f)
{
	int r = commit(f);

	if (!r)
		sm_check(f);
	return r;
}

void sm_abort(struct sm_fixture *f)
{
	thinp_bm_abort(f->bm);
	tp_sm_abort(f->data.sm);
	tp_sm_abort(f->meta.sm);
	thinp_tm_begin(f->tm);
	memcpy(f->meta.counts, f->meta.committed, f->nr_most * sizeof(uint32_t));
	memcpy(f->data.counts, f->data.committed, f->nr_most * sizeof(uint32_t));
	f->meta.nr = f->meta.nr_committed;
	f->data.nr = f->data.nr_committed;
}

/* --- operations --- */

int sm_take(struct sm_fixture *f, struct sm_model *m, uint64_t nr, uint64_t *first)
{
	int r = thinp_sm_take(m->sm, nr, first, NULL);

	(void)f;
	if (r)
		return r;
	for (uint64_t b = *first; b < *first + nr; b++) {
		assert_int_equal(m->counts[b], 0);    /* neither used now */
		assert_int_equal(m->committed[b], 0); /* nor in the last commit */
		m->counts[b] = 1;
	}
	return 0;
}

int sm_inc(struct sm_model *m, uint64_t first, uint64_t nr)
{
	int r = thinp_sm_inc(m->sm, first, nr);

	for (uint64_t b = first; !r && b < first + nr; b++)
		m->counts[b]++;
	return r;
}

int sm_dec(struct sm_model *m, uint64_t first, uint64_t nr)
{
	int r = thinp_sm_dec(m->sm, first, nr);

	for (uint64_t b = first; !r && b < first + nr; b++)
		m->counts[b]--;
	return r;
}

int sm_extend(struct sm_fixture *f, struct sm_model *m, uint64_t nr)
{
	int r = thinp_sm_extend(m->sm, nr);

	assert_true(r || nr <= f->nr_most);
	if (!r)
		m->nr = nr;
	return r;
}

void sm_raise(struct sm_model *m, uint64_t block, uint32_t to)
{
	while (m->counts[block] < to)
		assert_int_equal(sm_inc(m, block, 1), 0);
}

struct thinp_sm_info sm_info(const struct sm_model *m)
{
	struct thinp_sm_info info = {.size = sizeof(info)};

	thinp_sm_get_info(m->sm, &info);
	return info;
}

void sm_expect_counts(struct sm_model *m)
{
	uint64_t nr_zero = 0, nr_allocatable = 0;
	struct thinp_sm_info info = sm_info(m);

	for (uint64_t b = 0; b < m->nr; b++) {
		uint32_t count = 4711;

		assert_int_equal(thinp_sm_count(m->sm, b, &count), 0);
		assert_int_equal(count, m->counts[b]);
		nr_zero += !count;
		nr_allocatable += !count && !m->committed[b];
	}
	assert_int_equal(info.nr_blocks, m->nr);
	assert_int_equal(info.nr_zero, nr_zero);
	assert_int_equal(info.nr_allocatable, nr_allocatable);
}
