/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * integration/failures/block.c - the block manager: making it, changing blocks, reading them.
 */
#include "failures.h"

#include <thinp/block.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { CACHE = 6, OWN = 8, LARGE = 256 << 10 };

struct manager {
	struct thinp_bm *bm;
	struct thinp_reader *reader;
};

/* --- making it --- */

static int make(struct world *w, struct manager *m)
{
	struct thinp_bm_opts opts = {.size = sizeof(opts), .cache_blocks = CACHE, .allocator = &w->alloc.table};
	int r = thinp_bm_create(w->io, &opts, &m->bm);

	return r ? r : thinp_reader_create(m->bm, 0, &m->reader);
}

static void unmake(struct manager *m)
{
	thinp_reader_destroy(m->reader);
	thinp_bm_destroy(m->bm);
}

static int make_and_unmake(struct world *w)
{
	struct manager m = {.bm = NULL};
	int r = make(w, &m);

	unmake(&m);
	return r;
}

static const struct scenario making = {.name = "making a block manager", .attempt = make_and_unmake};

/* --- a transaction --- */

static void setup(struct world *w)
{
	w->own = calloc(1, sizeof(struct manager));
	assert_non_null(w->own);
	assert_int_equal(make(w, w->own), 0);
}

static void close_manager(struct world *w)
{
	unmake(w->own);
	free(w->own);
}

static void fill(void *data, thinp_block_t block)
{
	memset((uint8_t *)data + 16, (int)block, 4096 - 16); /* behind checksum and address */
}

static int change(struct manager *m, thinp_block_t block, bool is_new)
{
	const struct thinp_block_type *type = thinp_block_type_bitmap();
	struct thinp_buffer *buffer = NULL;
	void *data;
	int r = is_new ? thinp_bm_write_lock_zero(m->bm, block, type, &buffer, &data)
		       : thinp_bm_write_lock(m->bm, block, type, &buffer, &data);

	if (!r)
		fill(data, block);
	thinp_bm_unlock(m->bm, buffer);
	return r;
}

/* LOCKCHECK: each buffer there is can be locked by one thread, so none is locked or pinned, and none is lost. */
static int lock_all(struct manager *m)
{
	struct thinp_buffer *buffers[CACHE + OWN] = {NULL};
	void *data;
	int r = 0;

	for (size_t i = 0; i < CACHE + OWN && !r; i++)
		r = thinp_bm_write_lock_zero(m->bm, 100 + i, thinp_block_type_bitmap(), &buffers[i], &data);
	for (size_t i = 0; i < CACHE + OWN; i++)
		thinp_bm_unlock(m->bm, buffers[i]);
	thinp_bm_abort(m->bm);
	return r;
}

static int read_back(struct manager *m)
{
	static const thinp_block_t ahead[] = {2, 3, 5};
	struct thinp_read_section section;
	const void *data;
	int r = 0;

	thinp_reader_prefetch(m->reader, thinp_block_type_bitmap(), ahead, 3);
	thinp_read_begin(m->reader, &section);
	for (thinp_block_t block = 1; block < 30 && !r; block++) {
		r = thinp_read_block(&section, block, thinp_block_type_bitmap(), &data);
		if (!r)
			assert_int_equal(((const uint8_t *)data)[4095], block);
	}
	thinp_read_end(&section);
	return r;
}

/* Block 200 goes to the device and comes back, when all nodes of the table are in use and it needs one more. */
static int change_all(struct manager *m)
{
	int r = change(m, 200, true);

	for (thinp_block_t block = 1; block < 30 && !r; block++)
		r = change(m, block, true);
	for (thinp_block_t block = 1; block < 30 && !r; block += 7)
		r = change(m, block, false);
	for (thinp_block_t block = 70; block < 200 && !r; block += 65)
		r = change(m, block, true);
	if (!r)
		r = change(m, 200, false);
	if (!r)
		r = change(m, 50, true);
	thinp_bm_forget(m->bm, 50);
	return r;
}

static int transact(struct world *w)
{
	struct manager *m = w->own;
	struct thinp_bm_stats stats = {.size = sizeof(stats)};
	uint8_t record[4096];
	int r;

	thinp_bm_abort(m->bm);
	thinp_bm_get_stats(m->bm, &stats);
	assert_int_equal(stats.blocks_dirty, 0);
	r = lock_all(m);
	if (!r)
		r = change_all(m);
	if (!r)
		r = thinp_bm_flush(m->bm);
	if (!r)
		r = read_back(m);
	if (!r)
		r = change(m, 30, true);
	memset(record, 0, sizeof(record));
	if (!r)
		r = thinp_bm_commit(m->bm, 0, thinp_block_type_bitmap(), record);
	return r ? r : read_back(m);
}

static const struct scenario transaction = {
	.name = "a transaction of blocks", .setup = setup, .attempt = transact, .close = close_manager, .large = LARGE};

const struct covered failures_of_block[] = {
	{"thinp_bm_create", &making},
	{"thinp_reader_create", &making},
	{"thinp_bm_write_lock_zero", &transaction},
	{"thinp_bm_write_lock", &transaction},
	{"thinp_bm_flush", &transaction},
	{"thinp_bm_commit", &transaction},
	{"thinp_read_block", &transaction},
	{"thinp_reader_prefetch", &transaction},
	{NULL, NULL},
};
