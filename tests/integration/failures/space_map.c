/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * integration/failures/space_map.c - space maps under the trees of a thin pool: all rooms together, as a pool ties them.
 *
 * Every count is looked at: those of data blocks in the open transaction, those of all blocks in the image of each commit.
 */
#include "play.h"

#include "base/bytes.h"
#include "support/meta_check.h"
#include "support/thin_skeleton.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum {
	NR_METADATA = 200,
	MORE_METADATA = 230,
	NR_DATA = 20000,
	MORE_DATA = 35000,
	RUN = 16300,
	NR_RUN = 40,
	MANY = 100
};
#define UNTOUCHED UINT64_C(0x1234567812345678)

/* References that the test has itself. */
struct own {
	uint32_t data[MORE_DATA];
	thinp_block_t metadata; /* 0: none */
	uint64_t first_taken, nr_taken;
};

struct maps {
	struct stage stage; /* the first */
	struct thin_skeleton_opts opts;
	struct thin_skeleton s;
	struct own now, committed;
};

static struct maps *of(struct stage *stage)
{
	return (struct maps *)stage;
}

/* --- the stage --- */

static void share(struct maps *m)
{
	m->stage.bm = m->s.bm;
	m->stage.tm = m->s.tm;
}

static struct stage *open_with(struct world *w, const char *policy, bool queue_always)
{
	struct maps *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	m->stage.w = w;
	m->opts = (struct thin_skeleton_opts){.nr_metadata = NR_METADATA,
					      .nr_data = NR_DATA,
					      .cache_blocks = PLAY_CACHE,
					      .allocator = &w->alloc.table,
					      .policy = thinp_opq_policy_by_name(policy),
					      .queue_always = queue_always};
	assert_int_equal(thin_skeleton_create(&m->s, w->io, &m->opts), 0);
	assert_int_equal(thin_skeleton_add_device(&m->s, 1), 0);
	for (uint64_t i = 0; i < 6; i++)
		assert_int_equal(thin_skeleton_map_run(&m->s, 1, i * MANY, MANY), 0);
	assert_int_equal(thin_skeleton_snapshot(&m->s, 1, 2), 0);
	assert_int_equal(thin_skeleton_commit(&m->s), 0);
	thin_skeleton_close(&m->s);
	assert_int_equal(thin_skeleton_open(&m->s, w->io, &m->opts), 0);
	share(m);
	return &m->stage;
}

static struct stage *open_maps(struct world *w)
{
	return open_with(w, "fifo", false);
}

static struct stage *open_queued(struct world *w)
{
	return open_with(w, "fifo", true);
}

static struct stage *open_coalescing(struct world *w)
{
	return open_with(w, "coalescing", true);
}

static void close_maps(struct stage *stage)
{
	thin_skeleton_close(&of(stage)->s);
	free(stage);
}

static void abort_maps(struct stage *stage)
{
	struct maps *m = of(stage);

	thin_skeleton_abort(&m->s);
	m->now = m->committed;
}

static int commit_maps(struct stage *stage)
{
	struct maps *m = of(stage);
	int r;

	m->s.sb.transaction_id++;
	r = thin_skeleton_commit(&m->s);
	if (!r)
		m->committed = m->now;
	return r;
}

/* --- looking --- */

static struct thinp_sm_info info_of(const struct thinp_sm *sm)
{
	struct thinp_sm_info info = {.size = sizeof(info)};

	thinp_sm_get_info(sm, &info);
	return info;
}

static void check_data(struct maps *m)
{
	struct meta_mappings count;
	struct thinp_sm_info info = info_of(m->s.data);
	uint64_t nr_zero = 0;

	meta_mappings_begin(&count, thinp_tm_reader(m->s.tm), info_of(m->s.metadata).nr_blocks, info.nr_blocks,
			    m->s.sb.mapping_root, m->s.sb.held_root);
	for (uint64_t b = 0; b < info.nr_blocks; b++) {
		uint32_t found = 4711;

		assert_int_equal(thinp_sm_count(m->s.data, b, &found), 0);
		assert_int_equal(found, count.check.data_counts[b] + m->now.data[b]);
		nr_zero += !found;
	}
	assert_int_equal(info.nr_zero, nr_zero);
	meta_check_end(&count.check);
}

static void refer_own(struct meta_check *check, void *ctx)
{
	static const char kind[] = "taken by the test";
	const struct own *own = ctx;

	for (uint64_t b = 0; b < check->nr_data; b++)
		for (uint32_t i = 0; i < own->data[b]; i++)
			meta_check_refer_data(check, b);
	if (own->metadata)
		meta_check_refer(check, own->metadata, kind);
}

static int mix_entries(void *ctx, const struct thinp_btree_span *span)
{
	uint64_t *number = ctx;

	for (size_t i = 0; i < span->nr_entries; i++) {
		*number = play_mix(*number, span->prefix, sizeof(span->prefix[0]));
		*number = play_mix(*number, (const uint8_t *)span->keys_le + 8 * i, 8);
		*number = play_mix(*number, (const uint8_t *)span->values_le + 8 * i, 3); /* the time */
	}
	return 0;
}

static uint64_t look_at_maps(struct stage *stage, bool is_committed)
{
	struct maps *m = of(stage);
	uint64_t lengths[] = {info_of(m->s.data).nr_blocks, info_of(m->s.metadata).nr_blocks};
	uint64_t number = play_mix(1, lengths, sizeof(lengths));

	check_data(m);
	if (is_committed)
		meta_check_thin(stage->w->memory, refer_own, &m->now);
	assert_int_equal(
		thinp_btree_walk(thinp_tm_reader(m->s.tm), &m->s.mappings, m->s.sb.mapping_root, mix_entries, &number),
		0);
	for (uint64_t b = 0; b < MORE_DATA; b++)
		if (m->now.data[b])
			number = play_mix(number, &m->now.data[b], sizeof(m->now.data[b]));
	return play_mix(number, &m->now.nr_taken, sizeof(m->now.nr_taken));
}

/* --- acts: the maps themselves --- */

static int note(struct maps *m, int r, uint64_t first, uint64_t nr, uint32_t change)
{
	for (uint64_t b = first; !r && b < first + nr; b++)
		m->now.data[b] += change;
	return r;
}

static int take(struct stage *stage)
{
	struct maps *m = of(stage);
	uint64_t first = UNTOUCHED, nr = UNTOUCHED;
	int r = thinp_sm_take(m->s.data, MANY, &first, &nr);

	if (r) {
		assert_true(first == UNTOUCHED && nr == UNTOUCHED);
		return r;
	}
	m->now.first_taken = first;
	m->now.nr_taken = nr;
	return note(m, 0, first, nr, 1);
}

static int drop_taken(struct stage *stage)
{
	struct maps *m = of(stage);
	int r = thinp_sm_dec(m->s.data, m->now.first_taken, m->now.nr_taken);

	return note(m, r, m->now.first_taken, m->now.nr_taken, UINT32_MAX);
}

/* Over the edge between two bitmaps. */
static int raise(struct stage *stage)
{
	return note(of(stage), thinp_sm_inc(of(stage)->s.data, RUN, NR_RUN), RUN, NR_RUN, 1);
}

static int lower(struct stage *stage)
{
	return note(of(stage), thinp_sm_dec(of(stage)->s.data, RUN, NR_RUN), RUN, NR_RUN, UINT32_MAX);
}

static int count(struct stage *stage)
{
	uint32_t found = 4711;
	int r = thinp_sm_count(of(stage)->s.data, RUN + NR_RUN - 1, &found);

	assert_int_equal(found, r ? 4711 : of(stage)->now.data[RUN + NR_RUN - 1]);
	return r;
}

static int extend_data(struct stage *stage)
{
	return thinp_sm_extend(of(stage)->s.data, MORE_DATA);
}

static int extend_metadata(struct stage *stage)
{
	int r = thinp_sm_extend(of(stage)->s.metadata, MORE_METADATA);

	if (!r)
		of(stage)->s.sb.metadata_nr_blocks = MORE_METADATA;
	return r;
}

static int take_metadata(struct stage *stage)
{
	uint64_t block = UNTOUCHED;
	int r = thinp_sm_take(of(stage)->s.metadata, 1, &block, NULL);

	assert_int_equal(block == UNTOUCHED, r != 0);
	if (!r)
		of(stage)->now.metadata = block;
	return r;
}

static int drop_metadata(struct stage *stage)
{
	int r = thinp_sm_dec(of(stage)->s.metadata, of(stage)->now.metadata, 1);

	if (!r)
		of(stage)->now.metadata = 0;
	return r;
}

/* --- acts: trees over them --- */

static int map_shared(struct stage *stage)
{
	return thin_skeleton_map(&of(stage)->s, 1, 150, NULL);
}

static int map_many(struct stage *stage)
{
	return thin_skeleton_map_run(&of(stage)->s, 1, 590, MANY);
}

static int add_device(struct stage *stage)
{
	return thin_skeleton_add_device(&of(stage)->s, 3);
}

static int map_new(struct stage *stage)
{
	return thin_skeleton_map(&of(stage)->s, 3, 5, NULL);
}

static int unmap(struct stage *stage)
{
	return thin_skeleton_unmap(&of(stage)->s, 1, 50, 400);
}

static int delete_snapshot(struct stage *stage)
{
	return thin_skeleton_delete_device(&of(stage)->s, 2);
}

static int hold(struct stage *stage)
{
	return thin_skeleton_hold(&of(stage)->s);
}

static int release(struct stage *stage)
{
	return thin_skeleton_release(&of(stage)->s);
}

/* --- the plays --- */

static const struct act acts[] = {
	{"count", count, false},
	{"take", take, false},
	{"raise", raise, false},
	{"raise to 2", raise, false},
	{"raise to 3", raise, false},
	{"raise to 4", raise, false},
	{"map what is shared", map_shared, false},
	{"make the data map longer", extend_data, false},
	{"make the metadata map longer", extend_metadata, false},
	{"take a metadata block", take_metadata, false},
	{"map many", map_many, false},
	{"add a device", add_device, false},
	{"map", map_new, false},
	{"hold", hold, false},
	{"commit", commit_maps, true},
	{"lower", lower, false},
	{"lower to 2", lower, false},
	{"drop what was taken", drop_taken, false},
	{"unmap", unmap, false},
	{"delete a snapshot", delete_snapshot, false},
	{"drop a metadata block", drop_metadata, false},
	{"commit again", commit_maps, true},
	{"take again", take, false},
	{"release", release, false},
	{"commit the last time", commit_maps, true},
	{NULL, NULL, false},
};

/* The superblock tells which commit it is. */
static void reopen_maps(struct stage *stage)
{
	struct maps *m = of(stage);
	uint64_t before = m->s.committed.transaction_id;

	thin_skeleton_close(&m->s);
	assert_int_equal(thin_skeleton_open(&m->s, stage->w->memory, &m->opts), 0);
	share(m);
	assert_in_range(m->s.committed.transaction_id, before, before + 1);
	if (m->s.committed.transaction_id == before)
		m->now = m->committed;
}

static const struct play play = {.acts = acts,
				 .open = open_maps,
				 .close = close_maps,
				 .abort = abort_maps,
				 .look = look_at_maps,
				 .reopen = reopen_maps};
static const struct play queued = {.acts = acts,
				   .open = open_queued,
				   .close = close_maps,
				   .abort = abort_maps,
				   .look = look_at_maps,
				   .reopen = reopen_maps};
static const struct play coalescing = {.acts = acts,
				       .open = open_coalescing,
				       .close = close_maps,
				       .abort = abort_maps,
				       .look = look_at_maps,
				       .reopen = reopen_maps};

static void going_on(struct world *w)
{
	play_setup(w, &play, false);
}

static void going_on_queued(struct world *w)
{
	play_setup(w, &queued, false);
}

static void going_on_coalescing(struct world *w)
{
	play_setup(w, &coalescing, false);
}

static void aborting(struct world *w)
{
	play_setup(w, &play, true);
}

static const struct scenario changing = {.name = "changing space maps",
					 .setup = going_on,
					 .attempt = play_attempt,
					 .close = play_close,
					 .large = PLAY_LARGE};
static const struct scenario aborted = {.name = "changing space maps, and aborting",
					.setup = aborting,
					.attempt = play_attempt,
					.close = play_close,
					.large = PLAY_LARGE};

static const struct scenario with_queue = {.name = "changing space maps that put off all",
					   .setup = going_on_queued,
					   .attempt = play_attempt,
					   .close = play_close,
					   .large = PLAY_LARGE};
static const struct scenario with_coalescing = {.name = "changing space maps that put off all and merge it",
						.setup = going_on_coalescing,
						.attempt = play_attempt,
						.close = play_close,
						.large = PLAY_LARGE};

const struct covered failures_of_space_map[] = {
	{"thinp_sm_take", &changing},  {"thinp_sm_inc", &with_queue}, {"thinp_sm_dec", &with_coalescing},
	{"thinp_sm_count", &changing}, {"thinp_sm_extend", &aborted}, {NULL, NULL},
};
