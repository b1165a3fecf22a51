/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Trees, space maps and arrays together, changed at random beside plain arrays. After each commit the whole image is read
 * again, and every count of both maps is compared with the references found.
 *
 * Environment: THINP_TEST_SEED repeats a run; THINP_RANDOM_OPS runs so many operations, in place of THINP_TEST_SECONDS
 * (5); THINP_RANDOM_IMAGES is a folder for images, one for about every THINP_RANDOM_EVERY (200) commits and
 * the end of each round.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "support/meta_check.h"
#include "support/thin_skeleton.h"
#include "unit/base/random.h"

#include <thinp/array.h>
#include <thinp/error.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { NR_DEVICES = 10, NR_VIRTUAL = 4096, NR_ARRAYS = 3, MOST_VALUES = 4000, MOST_APART = 100 };

#define UNMAPPED UINT64_MAX

struct device {
	bool is_there;
	uint64_t blocks[NR_VIRTUAL];
};

/* Values are data blocks, as in mappings. */
struct array {
	bool is_there;
	thinp_block_t root;
	uint64_t nr;
	uint64_t blocks[MOST_VALUES];
};

struct model {
	struct device devices[NR_DEVICES];
	struct array arrays[NR_ARRAYS];
	bool is_held;
};

struct run {
	uint64_t rng;
	struct thinp_io *io;
	struct thin_skeleton s;
	struct thin_skeleton_opts opts;
	struct thinp_array_type array_type;
	struct meta_array array_kind;
	struct model now, committed;
	uint64_t stride; /* from one virtual block to the next */
	unsigned int since_commit;
	uint64_t nr_ops, nr_commits, nr_aborts, nr_refused, nr_images;
};

static uint64_t below(struct run *run, uint64_t end)
{
	return random_next(&run->rng) % end;
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
	const char *given = getenv(name);

	return given ? strtoull(given, NULL, 0) : otherwise;
}

/* --- images ------------------------------------------------------------------------------------------------------------ */

static void write_image(struct run *run, const char *folder)
{
	static const uint8_t zeros[THINP_BLOCK_SIZE];
	_Alignas(THINP_BLOCK_SIZE) uint8_t block[THINP_BLOCK_SIZE];
	uint64_t nr = run->s.committed.metadata_sm.nr_blocks;
	char name[4096];
	int fd;

	snprintf(name, sizeof(name), "%s/%06" PRIu64 ".meta", folder, ++run->nr_images);
	fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	for (uint64_t i = 0; i < nr; i++) {
		assert_int_equal(thinp_io_read(run->io, i, 1, block), 0);
		if (memcmp(block, zeros, sizeof(block)))
			assert_int_equal(pwrite(fd, block, sizeof(block), (off_t)(i * THINP_BLOCK_SIZE)),
					 sizeof(block));
	}
	assert_int_equal(ftruncate(fd, (off_t)(nr * THINP_BLOCK_SIZE)), 0);
	assert_int_equal(close(fd), 0);
}

/* --- checks ------------------------------------------------------------------------------------------------------------ */

static void count_values(struct meta_check *check, const struct meta_kind *kind, const uint64_t *keys,
			 const uint8_t *values_le, uint32_t nr)
{
	(void)kind, (void)keys;
	for (uint32_t i = 0; i < nr; i++)
		meta_check_refer_data(check, tp_load_le64(values_le + 8 * (size_t)i) >> 24);
}

static void count_arrays(struct meta_check *check, void *ctx)
{
	struct run *run = ctx;

	for (size_t i = 0; i < NR_ARRAYS; i++)
		if (run->now.arrays[i].is_there)
			meta_check_array(check, run->now.arrays[i].root, &run->array_kind, run->now.arrays[i].nr);
}

static void compare_device(struct run *run, uint64_t device)
{
	const struct device *model = &run->now.devices[device];

	for (uint64_t i = 0; i < NR_VIRTUAL; i++) {
		uint64_t found = UNMAPPED;
		int r = thin_skeleton_lookup(&run->s, device, i * run->stride, &found);

		assert_int_equal(r, model->blocks[i] == UNMAPPED ? THINP_ENODATA : 0);
		assert_int_equal(found, model->blocks[i]);
	}
}

static void compare_array(struct run *run, const struct array *model)
{
	for (uint64_t i = 0; i < model->nr; i++) {
		uint8_t value[8];

		assert_int_equal(thinp_array_get(thinp_tm_reader(run->s.tm), &run->array_type, model->root, i, value),
				 0);
		assert_int_equal(tp_load_le64(value) >> 24, model->blocks[i]);
	}
}

static void compare_some(struct run *run)
{
	size_t device = below(run, NR_DEVICES), array = below(run, NR_ARRAYS);

	if (run->now.devices[device].is_there)
		compare_device(run, device);
	if (run->now.arrays[array].is_there)
		compare_array(run, &run->now.arrays[array]);
}

/* --- operations -------------------------------------------------------------------------------------------------------- */

static void give_up(struct run *run)
{
	thin_skeleton_abort(&run->s);
	run->now = run->committed;
	run->since_commit = 0;
	run->nr_aborts++;
}

/* True: done. What does not fit is refused; half way only where the skeleton makes several changes. */
static bool is_done(struct run *run, int r)
{
	if (!r)
		return true;
	if (r != THINP_ENOSPC)
		fail_msg("%s", thinp_err_name(r));
	run->nr_refused++;
	if (thinp_tm_status(run->s.tm))
		give_up(run);
	return false;
}

static void map_one(struct run *run, uint64_t device)
{
	uint64_t i = below(run, NR_VIRTUAL), block = 0;

	if (is_done(run, thin_skeleton_map(&run->s, device, i * run->stride, &block)))
		run->now.devices[device].blocks[i] = block;
}

static void map_many(struct run *run, uint64_t device)
{
	uint64_t nr = 1 + below(run, 100), i = below(run, NR_VIRTUAL - nr);
	struct device *model = &run->now.devices[device];

	if (run->stride != 1 || !is_done(run, thin_skeleton_map_run(&run->s, device, i, nr)))
		return;
	for (; nr; nr--, i++) { /* it may have found a shorter run of data blocks */
		uint64_t block;

		if (!thin_skeleton_lookup(&run->s, device, i, &block))
			model->blocks[i] = block;
		else
			assert_int_equal(model->blocks[i], UNMAPPED);
	}
}

static void unmap(struct run *run, uint64_t device)
{
	uint64_t first = below(run, NR_VIRTUAL), nr = 1 + below(run, below(run, 8) ? 20 : NR_VIRTUAL);
	uint64_t last = first + nr < NR_VIRTUAL ? first + nr - 1 : NR_VIRTUAL - 1;

	if (!is_done(run, thin_skeleton_unmap(&run->s, device, first * run->stride, last * run->stride)))
		return;
	for (uint64_t i = first; i <= last; i++)
		run->now.devices[device].blocks[i] = UNMAPPED;
}

static void add_device(struct run *run, uint64_t device)
{
	if (!is_done(run, thin_skeleton_add_device(&run->s, device)))
		return;
	run->now.devices[device].is_there = true;
	for (uint64_t i = 0; i < NR_VIRTUAL; i++)
		run->now.devices[device].blocks[i] = UNMAPPED;
}

static void snapshot(struct run *run, uint64_t origin, uint64_t device)
{
	if (!run->now.devices[device].is_there && is_done(run, thin_skeleton_snapshot(&run->s, origin, device)))
		run->now.devices[device] = run->now.devices[origin];
}

static void delete_device(struct run *run, uint64_t device)
{
	if (is_done(run, thin_skeleton_delete_device(&run->s, device)))
		run->now.devices[device].is_there = false;
}

static void hold_or_release(struct run *run)
{
	bool is_held = run->now.is_held;

	if (is_done(run, is_held ? thin_skeleton_release(&run->s) : thin_skeleton_hold(&run->s)))
		run->now.is_held = !is_held;
}

static void grow_maps(struct run *run)
{
	struct thinp_sm *map = below(run, 2) ? run->s.data : run->s.metadata;
	struct thinp_sm_info info = {.size = sizeof(info)};
	uint64_t nr_device = 0, to;

	assert_int_equal(thinp_io_size(run->io, &nr_device), 0);
	thinp_sm_get_info(map, &info);
	to = info.nr_blocks + below(run, 300);
	if (map == run->s.metadata && to > nr_device)
		return;
	is_done(run, thinp_sm_extend(map, to));
}

static void change_device(struct run *run, uint64_t device)
{
	switch (below(run, 100)) {
	case 0:
		delete_device(run, device);
		break;
	case 1:
	case 2:
		snapshot(run, device, below(run, NR_DEVICES));
		break;
	case 3:
		hold_or_release(run);
		break;
	case 4:
		grow_maps(run);
		break;
	default:
		if (below(run, 4))
			map_one(run, device);
		else if (below(run, 2))
			map_many(run, device);
		else
			unmap(run, device);
	}
}

/* --- arrays ------------------------------------------------------------------------------------------------------------ */

static void drop_array(struct run *run, struct array *array)
{
	if (is_done(run, thinp_array_del(run->s.tm, &run->array_type, array->root)))
		array->is_there = false;
}

static void snapshot_array(struct run *run, const struct array *array)
{
	struct array *copy = &run->now.arrays[below(run, NR_ARRAYS)];

	if (!copy->is_there && is_done(run, thinp_tm_inc(run->s.tm, array->root, 1, THINP_CAUSE_USER)))
		*copy = *array;
}

/* The block is taken for the array. */
static bool take_value(struct run *run, uint64_t *block, uint8_t *value)
{
	if (!is_done(run, thinp_sm_take(run->s.data, 1, block, NULL)))
		return false;
	tp_store_le64(value, *block << 24);
	return true;
}

static void give_back(struct run *run, uint64_t block)
{
	assert_int_equal(thinp_sm_dec(run->s.data, block, 1), 0);
}

static void set_value(struct run *run, struct array *array)
{
	uint64_t i = array->nr ? below(run, array->nr) : 0, block = 0, nr_aborts = run->nr_aborts;
	uint8_t value[8];

	if (!array->nr || !take_value(run, &block, value))
		return;
	if (is_done(run, thinp_array_set(run->s.tm, &run->array_type, array->root, i, value, &array->root)))
		array->blocks[i] = block;
	else if (run->nr_aborts == nr_aborts)
		give_back(run, block);
}

static void resize_array(struct run *run, struct array *array)
{
	uint64_t nr = below(run, MOST_VALUES), block = 0, nr_aborts = run->nr_aborts;
	uint8_t value[8];

	if (!take_value(run, &block, value))
		return;
	if (is_done(run,
		    thinp_array_resize(run->s.tm, &run->array_type, array->root, array->nr, nr, value, &array->root))) {
		for (uint64_t i = array->nr; i < nr; i++)
			array->blocks[i] = block;
		array->nr = nr;
	}
	if (run->nr_aborts == nr_aborts)
		give_back(run, block);
}

static void change_array(struct run *run)
{
	struct array *array = &run->now.arrays[below(run, NR_ARRAYS)];

	if (!array->is_there) {
		array->nr = 0;
		array->is_there = is_done(run, thinp_array_create(run->s.tm, &run->array_type, &array->root));
		return;
	}
	switch (below(run, 40)) {
	case 0:
		drop_array(run, array);
		break;
	case 1:
		snapshot_array(run, array);
		break;
	case 2:
	case 3:
		resize_array(run, array);
		break;
	default:
		set_value(run, array);
	}
}

/* --- transactions ------------------------------------------------------------------------------------------------------ */

static void commit(struct run *run)
{
	assert_int_equal(thin_skeleton_commit(&run->s), 0);
	run->committed = run->now;
	run->since_commit = 0;
	run->nr_commits++;
	meta_check_thin(run->io, count_arrays, run);
	if (below(run, 8) == 0)
		compare_some(run);
}

/* Images have no arrays, for no superblock of a pool points to them. */
static void commit_image(struct run *run, const char *folder)
{
	for (size_t i = 0; i < NR_ARRAYS; i++)
		if (run->now.arrays[i].is_there)
			drop_array(run, &run->now.arrays[i]);
	commit(run);
	for (size_t i = 0; i < NR_ARRAYS; i++)
		if (run->now.arrays[i].is_there)
			return; /* it could not be dropped now */
	write_image(run, folder);
}

static void reopen(struct run *run)
{
	thin_skeleton_close(&run->s);
	assert_int_equal(thin_skeleton_open(&run->s, run->io, &run->opts), 0);
	run->array_type.ctx = &run->s;
	run->now = run->committed;
	run->since_commit = 0;
}

static void end_transaction(struct run *run)
{
	const char *folder = getenv("THINP_RANDOM_IMAGES");

	if (below(run, 40) == 0)
		give_up(run);
	else if (folder && below(run, number_from("THINP_RANDOM_EVERY", 200)) == 0)
		commit_image(run, folder);
	else
		commit(run);
	if (below(run, 60) == 0)
		reopen(run);
}

static void step(struct run *run)
{
	uint64_t device = below(run, NR_DEVICES);

	run->nr_ops++;
	run->since_commit++;
	if (below(run, 6) == 0)
		change_array(run);
	else if (run->now.devices[device].is_there)
		change_device(run, device);
	else if (below(run, 10) == 0)
		add_device(run, device);
	if (run->since_commit >= MOST_APART || below(run, 40) == 0)
		end_transaction(run);
}

/* --- rounds ------------------------------------------------------------------------------------------------------------ */

static void begin_round(struct run *run)
{
	static const char *const policies[] = {"fifo", "coalescing", "sorted"};
	static const uint64_t metadata_sizes[] = {200, 600, 2000, 17000, 40000}, data_sizes[] = {300, 5000, 60000};
	static const uint32_t caches[] = {256, 1024, 8192};
	struct thinp_io_opts io = {.size = sizeof(io)};

	run->opts = (struct thin_skeleton_opts){.nr_metadata = metadata_sizes[below(run, 5)],
						.nr_data = data_sizes[below(run, 3)],
						.cache_blocks = caches[below(run, 3)],
						.policy = thinp_opq_policy_by_name(policies[below(run, 3)]),
						.queue_always = below(run, 4) == 0};
	run->stride = below(run, 2) ? 1 : 1 + below(run, 1000000);
	io.nr_blocks = run->opts.nr_metadata + below(run, 2) * 2000;
	assert_non_null(run->opts.policy);
	assert_int_equal(thinp_io_open_memory(&io, &run->io), 0);
	assert_int_equal(thin_skeleton_create(&run->s, run->io, &run->opts), 0);
	run->array_type = (struct thinp_array_type){.size = sizeof(run->array_type),
						    .value_size = 8,
						    .ctx = &run->s,
						    .inc = run->s.device.inc,
						    .dec = run->s.device.dec,
						    .equal = run->s.device.equal,
						    .cost = run->s.device.cost};
	run->array_kind = (struct meta_array){.values = {.name = "array", .value_size = 8, .take = count_values}};
	memset(&run->now, 0, sizeof(run->now));
	run->committed = run->now;
	run->since_commit = 0;
	meta_check_thin(run->io, NULL, NULL);
}

static void end_round(struct run *run)
{
	const char *folder = getenv("THINP_RANDOM_IMAGES");

	commit(run);
	for (uint64_t i = 0; i < NR_DEVICES; i++)
		if (run->now.devices[i].is_there)
			compare_device(run, i);
	for (size_t i = 0; i < NR_ARRAYS; i++)
		if (run->now.arrays[i].is_there)
			compare_array(run, &run->now.arrays[i]);
	if (folder)
		commit_image(run, folder);
	thin_skeleton_close(&run->s);
	thinp_io_close(run->io);
}

static double now_in_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Time may be short on a busy machine: whoever wants images gets one. */
static bool is_enough(const struct run *run, double end)
{
	uint64_t most_ops = number_from("THINP_RANDOM_OPS", 0);

	if (most_ops)
		return run->nr_ops >= most_ops;
	return now_in_seconds() >= end && (run->nr_images || !getenv("THINP_RANDOM_IMAGES"));
}

static void changes_at_random_leave_exact_counts(void **state)
{
	double end = now_in_seconds() + (double)number_from("THINP_TEST_SECONDS", 5);
	struct run *run = calloc(1, sizeof(*run));

	(void)state;
	assert_non_null(run);
	run->rng = random_begin();
	while (!is_enough(run, end)) {
		uint64_t until = run->nr_ops + 3000;

		begin_round(run);
		while (run->nr_ops < until)
			step(run);
		end_round(run);
	}
	print_message("%" PRIu64 " operations, %" PRIu64 " commits, %" PRIu64 " aborts, %" PRIu64 " refused, %" PRIu64
		      " images\n",
		      run->nr_ops, run->nr_commits, run->nr_aborts, run->nr_refused, run->nr_images);
	free(run);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(changes_at_random_leave_exact_counts)};

	return cmocka_run_group_tests_name("integration/random_changes", tests, NULL, NULL);
}
