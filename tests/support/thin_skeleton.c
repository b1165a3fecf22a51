/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/thin_skeleton.c - opening, committing, aborting.
 */
#include "support/thin_skeleton.h"

#include "base/bytes.h"

#include <string.h>

/* --- values that are counted ------------------------------------------------------------------------------------------- */

typedef int (*count_fn)(struct thin_skeleton *s, uint64_t first, uint64_t nr);

/* Values that follow each other are counted together. */
static int count_runs(struct thin_skeleton *s, const void *values_le, size_t nr, unsigned int shift, count_fn fn)
{
	const uint8_t *values = values_le;
	int r = 0;

	for (size_t i = 0, n; i < nr && !r; i += n) {
		uint64_t first = tp_load_le64(values + 8 * i) >> shift;

		for (n = 1; i + n < nr && tp_load_le64(values + 8 * (i + n)) >> shift == first + n; n++)
			;
		r = fn(s, first, n);
	}
	return r;
}

static int raise_data(struct thin_skeleton *s, uint64_t first, uint64_t nr)
{
	return thinp_sm_inc(s->data, first, nr);
}

static int lower_data(struct thin_skeleton *s, uint64_t first, uint64_t nr)
{
	return thinp_sm_dec(s->data, first, nr);
}

static int raise_roots(struct thin_skeleton *s, uint64_t first, uint64_t nr)
{
	return thinp_tm_inc(s->tm, first, nr, THINP_CAUSE_SHADOW);
}

static int inc_mappings(void *ctx, const void *values_le, size_t nr)
{
	return count_runs(ctx, values_le, nr, 24, raise_data);
}

static int dec_mappings(void *ctx, const void *values_le, size_t nr)
{
	return count_runs(ctx, values_le, nr, 24, lower_data);
}

static int inc_roots(void *ctx, const void *values_le, size_t nr)
{
	return count_runs(ctx, values_le, nr, 0, raise_roots);
}

static bool same_data_block(void *ctx, const void *a_le, const void *b_le)
{
	(void)ctx;
	return tp_load_le64(a_le) >> 24 == tp_load_le64(b_le) >> 24;
}

/* A bitmap for each value, or all of them, with the way to each, and the way to the large counts. */
static uint64_t cost_of_mappings(void *ctx, size_t nr)
{
	struct thin_skeleton *s = ctx;
	struct thinp_sm_info info = {.size = sizeof(info)};
	uint64_t nr_bitmaps;

	thinp_sm_get_info(s->data, &info);
	nr_bitmaps = info.nr_blocks / TP_BITMAP_NR_ENTRIES + 1;
	return 4 * (nr < nr_bitmaps ? nr : nr_bitmaps) + 4;
}

static void make_types(struct thin_skeleton *s)
{
	s->mappings = (struct thinp_btree_type){.size = sizeof(s->mappings),
						.nr_levels = 2,
						.value_size = TP_MAPPING_SIZE,
						.ctx = s,
						.inc = inc_mappings,
						.dec = dec_mappings,
						.equal = same_data_block,
						.cost = cost_of_mappings};
	s->device = s->mappings;
	s->device.nr_levels = 1;
	s->top = (struct thinp_btree_type){
		.size = sizeof(s->top), .nr_levels = 1, .value_size = 8, .ctx = s, .inc = inc_roots};
	s->details =
		(struct thinp_btree_type){.size = sizeof(s->details), .nr_levels = 1, .value_size = TP_DETAILS_SIZE};
}

/* --- opening and closing ----------------------------------------------------------------------------------------------- */

static int open_maps(struct thin_skeleton *s, const struct tp_sm_root *metadata, const struct tp_sm_root *data)
{
	struct tp_sm_opts opts = {
		.allocator = s->opts.allocator, .policy = s->opts.policy, .queue_always = s->opts.queue_always};
	struct thinp_alloc table = {.size = sizeof(table)};
	int r = tp_sm_open_metadata(s->reader, metadata, &opts, &s->metadata);

	if (!r)
		r = tp_sm_open_data(s->reader, data, s->metadata, &opts, &s->data);
	if (r)
		return r;
	thinp_sm_get_alloc(s->metadata, &table);
	return thinp_tm_create(s->bm, &table, &s->tm);
}

static int open_manager(struct thin_skeleton *s, struct thinp_io *io, const struct thin_skeleton_opts *opts)
{
	struct thinp_bm_opts bm_opts = {
		.size = sizeof(bm_opts), .cache_blocks = opts->cache_blocks, .allocator = opts->allocator};
	int r;

	*s = (struct thin_skeleton){.io = io, .opts = *opts};
	make_types(s);
	r = thinp_bm_create(io, &bm_opts, &s->bm);
	return r ? r : thinp_reader_create(s->bm, 0, &s->reader);
}

void thin_skeleton_close(struct thin_skeleton *s)
{
	thinp_tm_destroy(s->tm);
	tp_sm_close(s->data);
	tp_sm_close(s->metadata);
	thinp_reader_destroy(s->reader);
	thinp_bm_destroy(s->bm);
}

static int read_superblock(struct thin_skeleton *s)
{
	struct thinp_read_section section;
	const void *data;
	int r;

	thinp_read_begin(s->reader, &section);
	r = thinp_read_block(&section, 0, thinp_block_type_thin_superblock(), &data);
	if (!r)
		tp_thin_superblock_unpack(data, &s->committed);
	thinp_read_end(&section);
	s->sb = s->committed;
	return r ? r : tp_thin_superblock_check_roots(&s->sb);
}

int thin_skeleton_open(struct thin_skeleton *s, struct thinp_io *io, const struct thin_skeleton_opts *opts)
{
	int r = open_manager(s, io, opts);

	if (!r)
		r = read_superblock(s);
	if (!r)
		r = open_maps(s, &s->sb.metadata_sm, &s->sb.data_sm);
	if (r)
		thin_skeleton_close(s);
	return r;
}

static int format(struct thin_skeleton *s)
{
	uint64_t nr = s->opts.nr_metadata;
	int r = nr ? 0 : thinp_io_size(s->io, &nr);

	if (!r)
		r = open_maps(s, NULL, NULL);
	if (!r)
		r = thinp_sm_extend(s->metadata, nr < TP_METADATA_MAX_BLOCKS ? nr : TP_METADATA_MAX_BLOCKS);
	if (!r)
		r = thinp_sm_extend(s->data, s->opts.nr_data);
	if (!r)
		r = thinp_btree_create(s->tm, &s->mappings, &s->sb.mapping_root);
	if (!r)
		r = thinp_btree_create(s->tm, &s->details, &s->sb.details_root);
	if (r)
		return r;
	s->sb.magic = TP_THIN_MAGIC;
	s->sb.version = TP_THIN_VERSION;
	s->sb.data_block_size = 128;
	s->sb.metadata_block_size = TP_METADATA_BLOCK_SECTORS;
	s->sb.metadata_nr_blocks = nr < TP_METADATA_MAX_BLOCKS ? nr : TP_METADATA_MAX_BLOCKS;
	return thin_skeleton_commit(s);
}

int thin_skeleton_create(struct thin_skeleton *s, struct thinp_io *io, const struct thin_skeleton_opts *opts)
{
	int r = open_manager(s, io, opts);

	if (!r)
		r = format(s);
	if (r)
		thin_skeleton_close(s);
	return r;
}

/* --- commit and abort -------------------------------------------------------------------------------------------------- */

static int write_commit(struct thin_skeleton *s)
{
	uint8_t block[THINP_BLOCK_SIZE] = {0};

	tp_sm_get_root(s->data, &s->sb.data_sm);
	tp_sm_get_root(s->metadata, &s->sb.metadata_sm);
	tp_thin_superblock_pack(&s->sb, block);
	return thinp_bm_commit(s->bm, 0, thinp_block_type_thin_superblock(), block);
}

int thin_skeleton_commit(struct thin_skeleton *s)
{
	int r = thinp_tm_status(s->tm);

	if (!r)
		r = tp_sm_record(s->data, s->tm);
	if (!r)
		r = tp_sm_record(s->metadata, s->tm);
	if (!r)
		r = write_commit(s);
	if (r)
		return r;
	s->nr_commits++;
	s->committed = s->sb;
	tp_sm_committed(s->data, s->nr_commits, false);
	tp_sm_committed(s->metadata, s->nr_commits, false);
	thinp_tm_begin(s->tm);
	return 0;
}

void thin_skeleton_abort(struct thin_skeleton *s)
{
	thinp_bm_abort(s->bm);
	tp_sm_abort(s->data);
	tp_sm_abort(s->metadata);
	thinp_tm_begin(s->tm);
	s->sb = s->committed;
}
