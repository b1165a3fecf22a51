/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block_bench.c - what the block cache costs: reading a block that it has, changing one, committing 120.
 *
 * The device is memory, so that nothing but the library is measured; bench_io shows what devices add.
 */
#include "bench.h"

#include <thinp/block.h>
#include <thinp/io.h>

#include <stdlib.h>
#include <string.h>

enum {
	SIZE = 1024, /* blocks of the device; all are cached */
	NR_BLOCKS = 120,
	NR_REPETITIONS = 50,
};

struct fixture {
	struct thinp_io *io;
	struct thinp_bm *bm;
	struct thinp_reader *reader;
	uint64_t stride; /* of the blocks of a commit */
	uint8_t record[THINP_BLOCK_SIZE];
};

static const struct thinp_block_type *kind(void)
{
	return thinp_block_type_bitmap();
}

static int change(struct fixture *f, thinp_block_t block)
{
	struct thinp_buffer *buffer;
	void *data;
	int r = thinp_bm_write_lock_zero(f->bm, block, kind(), &buffer, &data);

	if (r)
		return r;
	memset((uint8_t *)data + 16, (int)block, THINP_BLOCK_SIZE - 16);
	thinp_bm_unlock(f->bm, buffer);
	return 0;
}

static int fill(struct fixture *f)
{
	struct thinp_io_opts opts = {.size = sizeof(opts), .nr_blocks = SIZE};
	int r = thinp_io_open_memory(&opts, &f->io);

	if (!r)
		r = thinp_bm_create(f->io, NULL, &f->bm);
	for (thinp_block_t block = 1; !r && block < SIZE; block++)
		r = change(f, block);
	if (!r)
		r = thinp_bm_commit(f->bm, 0, kind(), f->record);
	return r ? r : thinp_reader_create(f->bm, 0, &f->reader);
}

static void *setup(struct bench_run *run)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f || fill(f)) {
		bench_skip(run, "no memory");
		return f;
	}
	f->stride = bench_arg(run) ? *(const uint64_t *)bench_arg(run) : 1;
	return f;
}

static void teardown(void *ctx)
{
	struct fixture *f = ctx;

	if (!f)
		return;
	thinp_reader_destroy(f->reader);
	thinp_bm_destroy(f->bm);
	thinp_io_close(f->io);
	free(f);
}

/* Every seventh block: the next one is not where the processor fetches ahead. */
static thinp_block_t nth_block(uint64_t i)
{
	return 1 + i * 7 % (SIZE - 1);
}

static void read_in_own_section(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	struct fixture *f = ctx;

	for (uint64_t i = 0; i < nr_times; i++) {
		struct thinp_read_section section;
		const void *data;

		thinp_read_begin(f->reader, &section);
		if (thinp_read_block(&section, nth_block(i), kind(), &data)) {
			bench_skip(run, "a block cannot be read");
			nr_times = 0;
		} else {
			bench_keep(*(const uint8_t *)data);
		}
		thinp_read_end(&section);
	}
}

static void peek_in_one_section(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	struct fixture *f = ctx;
	struct thinp_read_section section;

	(void)run;
	thinp_read_begin(f->reader, &section);
	for (uint64_t i = 0; i < nr_times; i++)
		bench_keep((uintptr_t)thinp_read_peek(&section, nth_block(i), kind()));
	thinp_read_end(&section);
}

static void commit(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	struct fixture *f = ctx;
	int r = 0;

	while (nr_times-- && !r) {
		bench_pause(run);
		for (uint64_t i = 0; i < NR_BLOCKS && !r; i++)
			r = change(f, 1 + i * f->stride);
		bench_resume(run);
		if (!r)
			r = thinp_bm_commit(f->bm, 0, kind(), f->record);
	}
	if (r)
		bench_skip(run, "a commit failed");
}

static const uint64_t adjacent = 1;
static const uint64_t scattered = 8;

const struct bench benches[] = {
	{.name = "block/read/section", .setup = setup, .work = read_in_own_section, .teardown = teardown},
	{.name = "block/read/peek", .setup = setup, .work = peek_in_one_section, .teardown = teardown},
	{.name = "block/commit_120/adjacent",
	 .setup = setup,
	 .work = commit,
	 .teardown = teardown,
	 .arg = &adjacent,
	 .in_microseconds = true,
	 .nr_times = 1,
	 .nr_repetitions = NR_REPETITIONS},
	{.name = "block/commit_120/scattered",
	 .setup = setup,
	 .work = commit,
	 .teardown = teardown,
	 .arg = &scattered,
	 .in_microseconds = true,
	 .nr_times = 1,
	 .nr_repetitions = NR_REPETITIONS},
	{.name = NULL},
};
