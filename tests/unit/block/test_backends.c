/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/block/test_backends.c - changing blocks through every back-end there is: what the device holds afterwards is read
 * past the library, from the file below.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <thinp/error.h>

#include "format/kind.h"
#include "support/block_change.h"
#include "support/io_temp.h"
#include "support/loop_device.h"

enum { NR_BLOCKS = 400, CACHE = 16 };

typedef int (*open_fn)(const char *path, const struct thinp_io_opts *opts, struct thinp_io **io);

struct variant {
	const char *name;
	open_fn open;
	uint32_t direct;
	bool is_loop;
};

/* ANY: a transaction that was aborted may have written it. */
enum { ANY = -1 };

struct life {
	struct io_temp temp;
	struct loop_device loop;
	char path[96]; /* what is opened: the file, or the loop device over it */
	int file;      /* for the reader past the library */
	struct thinp_io *io;
	struct block_fixture f;
	int64_t versions[NR_BLOCKS]; /* what each block has to hold; 0: zeros */
};

/* --- making it --- */

static void make_file(struct life *life, const struct variant *v)
{
	const char *obstacle;

	assert_int_equal(io_temp_make(&life->temp, "."), 0);
	strcpy(life->path, io_temp_path(&life->temp, "device"));
	life->file = open(life->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(life->file >= 0);
	assert_int_equal(ftruncate(life->file, (off_t)NR_BLOCKS * THINP_BLOCK_SIZE), 0);
	if (!v->is_loop)
		return;
	obstacle = loop_device_make(&life->loop, life->file, 4096, false);
	assert_null(obstacle);
	strcpy(life->path, life->loop.path);
}

static void remove_file(struct life *life, const struct variant *v)
{
	if (v->is_loop)
		loop_device_remove(&life->loop);
	close(life->file);
	io_temp_remove(&life->temp);
	free(life);
}

static int open_all(struct life *life, const struct variant *v)
{
	struct thinp_io_opts io_opts = {.size = sizeof(io_opts), .direct = v->direct};
	struct thinp_bm_opts opts = {.size = sizeof(opts), .cache_blocks = CACHE, .allocator = &life->f.alloc.table};
	int r = v->open(life->path, &io_opts, &life->io);

	if (r)
		return r;
	alloc_counting_init(&life->f.alloc);
	assert_int_equal(thinp_bm_create(life->io, &opts, &life->f.bm), 0);
	assert_int_equal(thinp_reader_create(life->f.bm, 0, &life->f.reader), 0);
	return 0;
}

static void close_all(struct life *life)
{
	thinp_reader_destroy(life->f.reader);
	thinp_bm_destroy(life->f.bm);
	alloc_counting_check(&life->f.alloc);
	thinp_io_close(life->io);
}

static const char *obstacle_of(const struct variant *v)
{
	struct io_temp temp;
	struct loop_device loop;
	const char *obstacle;
	int file;

	if (!v->is_loop)
		return NULL;
	assert_int_equal(io_temp_make(&temp, "."), 0);
	file = open(io_temp_path(&temp, "device"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(file >= 0);
	obstacle = loop_device_make(&loop, file, 4096, false);
	if (!obstacle)
		loop_device_remove(&loop);
	close(file);
	io_temp_remove(&temp);
	return obstacle;
}

/* --- what is there --- */

static bool is_zeros(const uint8_t *data)
{
	for (size_t i = 0; i < THINP_BLOCK_SIZE; i++)
		if (data[i])
			return false;
	return true;
}

/* Every block of the file, past the library: right content, checksum and address, or untouched. */
static void expect_on_disk(struct life *life)
{
	uint8_t data[THINP_BLOCK_SIZE];

	for (thinp_block_t block = 0; block < NR_BLOCKS; block++) {
		int64_t version = life->versions[block];

		assert_int_equal(pread(life->file, data, sizeof(data), (off_t)(block * sizeof(data))), sizeof(data));
		if (version == ANY)
			continue;
		if (version == 0) {
			assert_true(is_zeros(data));
			continue;
		}
		assert_int_equal(tp_block_verify(data, block, thinp_block_type_bitmap()), 0);
		assert_true(block_change_is(data, block, (uint64_t)version));
	}
}

static void expect_through_reader(struct life *life)
{
	for (thinp_block_t block = 0; block < NR_BLOCKS; block++)
		if (life->versions[block] > 0)
			assert_true(block_change_reads(&life->f, block, (uint64_t)life->versions[block]));
}

/* --- transactions --- */

/* Runs of neighbours with gaps, in no order; every seventh is changed twice, every eleventh forgotten. */
static void change_some(struct life *life, thinp_block_t begin, thinp_block_t end, uint64_t version, int64_t fate)
{
	for (thinp_block_t i = 0; i < end - begin; i++) {
		thinp_block_t block = begin + i * 37 % (end - begin);

		if (block % 9 == 0)
			continue;
		assert_int_equal(block_change_new(&life->f, block, version), 0);
		life->versions[block] = fate ? fate : (int64_t)version;
		if (block % 7 == 0) {
			assert_int_equal(block_change_again(&life->f, block, version, version + 1), 0);
			life->versions[block] = fate ? fate : (int64_t)version + 1;
		} else if (block % 11 == 0) {
			thinp_bm_forget(life->f.bm, block);
			life->versions[block] = ANY;
		}
	}
}

static void commit(struct life *life, uint64_t version)
{
	assert_int_equal(block_change_commit(&life->f, version), 0);
	life->versions[0] = (int64_t)version;
	expect_on_disk(life);
}

static void transact(struct life *life)
{
	struct thinp_bm_stats stats;

	change_some(life, 1, 150, 10, 0);
	commit(life, 10);
	stats = block_fixture_stats(&life->f);
	assert_true(stats.written_early > 0);
	assert_true(stats.write_ops < stats.written);

	change_some(life, 150, 250, 20, ANY);
	thinp_bm_abort(life->f.bm);
	expect_on_disk(life);
	expect_through_reader(life);

	change_some(life, 200, 300, 30, 0);
	assert_int_equal(thinp_bm_flush(life->f.bm), 0);
	expect_on_disk(life); /* all but the record */
	commit(life, 30);
	expect_through_reader(life);
}

static void what_was_committed_is_on_the_disk(void **state)
{
	const struct variant *v = *state;
	const char *obstacle = obstacle_of(v);
	struct life *life = calloc(1, sizeof(*life));
	int r;

	assert_non_null(life);
	if (obstacle) {
		print_message("%s: %s\n", v->name, obstacle);
		free(life);
		skip();
	}
	make_file(life, v);
	r = open_all(life, v);
	if (r == THINP_ENOTSUP) {
		print_message("%s: not supported here\n", v->name);
		remove_file(life, v);
		skip();
	}
	assert_int_equal(r, 0);
	transact(life);
	close_all(life);
	expect_on_disk(life);

	assert_int_equal(open_all(life, v), 0); /* another life goes on from there */
	expect_through_reader(life);
	change_some(life, 300, NR_BLOCKS, 40, 0);
	commit(life, 40);
	expect_through_reader(life);
	close_all(life);
	remove_file(life, v);
}

int main(void)
{
	static struct variant variants[] = {
		{"file, buffered", thinp_io_open_file, THINP_IO_DIRECT_OFF, false},
		{"file, direct", thinp_io_open_file, THINP_IO_DIRECT_ON, false},
		{"device, direct", thinp_io_open_device, THINP_IO_DIRECT_ON, true},
		{"device, buffered", thinp_io_open_device, THINP_IO_DIRECT_OFF, true},
		{"uring, file, buffered", thinp_io_open_uring, THINP_IO_DIRECT_OFF, false},
		{"uring, file, direct", thinp_io_open_uring, THINP_IO_DIRECT_ON, false},
		{"uring, device, direct", thinp_io_open_uring, THINP_IO_DIRECT_ON, true},
		{"uring, device, buffered", thinp_io_open_uring, THINP_IO_DIRECT_OFF, true},
	};
	struct CMUnitTest tests[sizeof(variants) / sizeof(variants[0])];

	for (size_t i = 0; i < sizeof(variants) / sizeof(variants[0]); i++)
		tests[i] = (struct CMUnitTest){.name = variants[i].name,
					       .test_func = what_was_committed_is_on_the_disk,
					       .initial_state = &variants[i]};
	return cmocka_run_group_tests_name("block/backends", tests, NULL, NULL);
}
