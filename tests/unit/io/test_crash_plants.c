/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/io/test_crash_plants.c - the crash kit finds what is wrong, and only that: a store that is sound passes in all
 * states, and each fault that is planted in the store or in a device makes some state fail.
 */
#include "support/crash_device.h"
#include "support/fault_fixture.h"
#include "support/io_conformance.h"
#include "support/toy_store.h"

#include <thinp/crash.h>
#include <thinp/error.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { NR_COMMITS = 4 }; /* after that which formats */

/* Writes of the workload, and flushes. */
enum { NR_PLACES = 2 * (NR_COMMITS + 1) };

/* What the check says that no code of the library says. */
enum { BAD_COMMIT = -1, BAD_SECOND = -2 };

struct trial {
	struct crash_device device;
	struct toy_store toy;
};

static struct trial *begin_trial(void)
{
	struct trial *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	crash_device_begin(&t->device, TOY_NR_BLOCKS);
	t->toy.io = t->device.io;
	return t;
}

static void end_trial(struct trial *t)
{
	crash_device_end(&t->device);
	free(t);
}

static int setup(void **state)
{
	*state = begin_trial();
	return 0;
}

static int teardown(void **state)
{
	end_trial(*state);
	return 0;
}

/* --- the workload and the check --- */

/* Formats and commits, and marks each commit that was promised. What fails is tried once more; returns how often. */
static unsigned int run_workload(struct trial *t)
{
	unsigned int nr_failed = 0;
	int r = toy_format(&t->toy);

	while (r && ++nr_failed < 3)
		r = toy_format(&t->toy);
	while (!r && t->toy.commit < NR_COMMITS && nr_failed < 3) {
		assert_int_equal(thinp_record_mark(t->device.record, t->toy.commit), 0);
		for (r = toy_commit(&t->toy); r && nr_failed < 3; nr_failed++)
			r = toy_commit(&t->toy);
	}
	assert_int_equal(r, 0);
	assert_int_equal(thinp_record_mark(t->device.record, t->toy.commit), 0);
	return nr_failed;
}

/* The last commit that was promised is there, or the next one; and the store can go on from it. */
static int check(void *ctx, struct thinp_io *io, const struct thinp_crash_state *state)
{
	const struct toy_store *original = ctx;
	struct toy_store toy = {.io = io, .plants = original->plants};
	int r = toy_open(&toy);

	if (r == THINP_EUNFORMATTED && !state->has_mark)
		return 0; /* nothing had been promised */
	if (r)
		return r;
	if (state->has_mark ? toy.commit < state->mark || toy.commit > state->mark + 1 : toy.commit > 0)
		return BAD_COMMIT;
	r = toy_commit(&toy);
	if (!r)
		r = toy_open(&toy);
	return r ? BAD_SECOND : 0;
}

/* How many states the check finds fault with. */
static uint64_t count_bad(struct trial *t, const struct thinp_crash_opts *opts, uint64_t *nr_states)
{
	struct thinp_crash *crash = NULL;
	uint64_t nr_bad = 0;

	assert_int_equal(thinp_crash_create(t->device.record, opts, &crash), 0);
	while (thinp_crash_run(crash, check, &t->toy))
		nr_bad++;
	*nr_states = thinp_crash_nr_states(crash);
	thinp_crash_destroy(crash);
	return nr_bad;
}

static void expect_found(struct trial *t, bool is_found)
{
	uint64_t nr_states = 0;
	uint64_t nr_bad = count_bad(t, NULL, &nr_states);

	if (!nr_bad == is_found)
		fail_msg("%llu of %llu states are bad", (unsigned long long)nr_bad, (unsigned long long)nr_states);
	assert_true(nr_states > 200);
}

/* --- nothing planted --- */

static void a_sound_store_passes_in_all_states(void **state)
{
	struct trial *t = *state;

	assert_int_equal(run_workload(t), 0);
	expect_found(t, false);
}

static void a_sound_store_passes_whatever_is_chosen(void **state)
{
	static const struct thinp_crash_opts opts[] = {
		{.size = sizeof(opts[0]), .tear = THINP_CRASH_TEAR_ANY},
		{.size = sizeof(opts[0]), .exhaustive_max = THINP_CRASH_NONE, .nr_random = 200, .seed = 1},
		{.size = sizeof(opts[0]), .exhaustive_max = 1, .nr_random = 200, .seed = 2},
		{.size = sizeof(opts[0]), .tear = THINP_CRASH_TEAR_NONE},
	};
	struct trial *t = *state;
	uint64_t nr_states = 0;

	assert_int_equal(run_workload(t), 0);
	for (size_t i = 0; i < sizeof(opts) / sizeof(opts[0]); i++)
		assert_int_equal(count_bad(t, &opts[i], &nr_states), 0);
}

/* Writes and flushes that fail and are told so, at every place: the store tries the commit once more. */
static void a_sound_store_passes_when_its_device_fails_and_says_so(void **state)
{
	static const uint32_t kinds[] = {THINP_IO_WRITE, THINP_IO_FLUSH};

	(void)state;
	for (size_t k = 0; k < 2; k++) {
		for (uint64_t n = 1; n <= NR_PLACES; n++) {
			struct trial *t = begin_trial();

			assert_int_equal(thinp_fault_fail_nth(t->device.below, kinds[k], n, 0, NULL), 0);
			assert_int_equal(run_workload(t), 1);
			expect_found(t, false);
			end_trial(t);
		}
	}
}

/* --- planted in the store --- */

static void expect_store_found(struct trial *t, uint32_t plants)
{
	t->toy.plants = plants;
	assert_int_equal(run_workload(t), 0);
	expect_found(t, true);
}

static void a_store_that_forgets_the_first_flush_is_found(void **state)
{
	expect_store_found(*state, TOY_NO_FIRST_FLUSH);
}

static void a_store_that_forgets_the_second_flush_is_found(void **state)
{
	expect_store_found(*state, TOY_NO_SECOND_FLUSH);
}

static void a_store_that_writes_in_place_is_found(void **state)
{
	expect_store_found(*state, TOY_IN_PLACE);
}

/* Only torn states show it: without them nothing is found. */
static void a_superblock_over_sectors_without_a_checksum_is_found(void **state)
{
	const struct thinp_crash_opts untorn = {.size = sizeof(untorn), .tear = THINP_CRASH_TEAR_NONE};
	struct trial *t = *state;
	uint64_t nr_states = 0;

	expect_store_found(t, TOY_NO_CHECKSUM);
	assert_int_equal(count_bad(t, &untorn, &nr_states), 0);
}

static void COW_11_a_store_that_only_repeats_a_failed_flush_is_found(void **state)
{
	(void)state;
	for (uint64_t n = 1; n <= NR_PLACES; n++) {
		struct trial *t = begin_trial();

		t->toy.plants = TOY_FLUSHES_AGAIN;
		assert_int_equal(thinp_fault_fail_nth(t->device.below, THINP_IO_FLUSH, n, 0, NULL), 0);
		assert_int_equal(run_workload(t), 0);
		expect_found(t, true);
		end_trial(t);
	}
}

/* --- planted in a device --- */

static void add_rule(struct thinp_fault *fault, uint32_t kinds, uint32_t action, uint64_t nth)
{
	struct thinp_fault_rule rule = {
		.size = sizeof(rule), .kinds = kinds, .action = action, .nth = nth, .nr_sectors = 5};

	assert_int_equal(thinp_fault_add(fault, &rule, NULL), 0);
}

/* Plants the fault at each of the writes or flushes of the workload. */
static void expect_found_at_every_place(void (*plant)(struct trial *t, uint64_t n))
{
	for (uint64_t n = 1; n <= NR_PLACES; n++) {
		struct trial *t = begin_trial();

		plant(t, n);
		assert_int_equal(run_workload(t), 0);
		expect_found(t, true);
		end_trial(t);
	}
}

static void plant_dropped_flush(struct trial *t, uint64_t n)
{
	add_rule(t->device.above, THINP_FAULT_ON_FLUSH, THINP_FAULT_DROP, n);
}

static void a_device_that_drops_a_flush_is_found(void **state)
{
	(void)state;
	expect_found_at_every_place(plant_dropped_flush);
}

static void plant_torn_write(struct trial *t, uint64_t n)
{
	add_rule(t->device.above, THINP_FAULT_ON_WRITE, THINP_FAULT_TEAR, n);
}

static void a_device_that_tears_a_write_is_found(void **state)
{
	(void)state;
	expect_found_at_every_place(plant_torn_write);
}

/* The write fails below the log, which sees that, and is acknowledged above it. */
static void plant_acknowledged_failure(struct trial *t, uint64_t n)
{
	add_rule(t->device.below, THINP_FAULT_ON_WRITE, THINP_FAULT_FAIL, n);
	add_rule(t->device.above, THINP_FAULT_ON_WRITE, THINP_FAULT_ANSWER, n);
}

static void a_device_that_acknowledges_a_write_that_failed_is_found(void **state)
{
	(void)state;
	expect_found_at_every_place(plant_acknowledged_failure);
}

static void plant_lost_write(struct trial *t, uint64_t n)
{
	add_rule(t->device.above, THINP_FAULT_ON_WRITE, THINP_FAULT_DROP, n);
}

static void a_device_that_loses_a_write_is_found(void **state)
{
	(void)state;
	expect_found_at_every_place(plant_lost_write);
}

/* --- a layer that carries a write over a flush --- */

/* Holds one write back, and lets it go after the next flush. What it holds can be read. */
struct reorderer {
	struct thinp_io *lower;
	uint64_t nr_writes;
	uint64_t held_write; /* which one is held; 0: none, and the layer is sound */
	struct thinp_io_op held;
	uint8_t *data; /* of the held write; NULL: it has gone */
};

static int reorderer_size(void *ctx, uint64_t *nr_blocks)
{
	const struct reorderer *layer = ctx;

	return thinp_io_size(layer->lower, nr_blocks);
}

static int hold(struct reorderer *layer, const struct thinp_io_op *op)
{
	layer->data = io_blocks_new(op->nr_blocks);
	memcpy(layer->data, op->buffer, (size_t)op->nr_blocks * THINP_BLOCK_SIZE);
	layer->held = *op;
	layer->held.buffer = layer->data;
	return 0;
}

static int let_go(struct reorderer *layer, int r)
{
	if (!r && layer->data)
		r = thinp_io_batch(layer->lower, &layer->held, 1);
	free(layer->data);
	layer->data = NULL;
	return r;
}

static int reorderer_batch(void *ctx, struct thinp_io_op *ops, size_t nr_ops)
{
	struct reorderer *layer = ctx;

	for (size_t i = 0; i < nr_ops; i++) {
		struct thinp_io_op op = ops[i];

		if (op.kind == THINP_IO_WRITE && ++layer->nr_writes == layer->held_write)
			ops[i].result = hold(layer, &op);
		else
			ops[i].result = thinp_io_batch(layer->lower, &op, 1);
		if (op.kind == THINP_IO_FLUSH)
			ops[i].result = let_go(layer, ops[i].result);
	}
	return 0;
}

static void a_layer_that_reorders_over_a_flush_is_found(void **state)
{
	static const struct thinp_io_backend table = {
		.size = sizeof(table), .name = "reorderer", .get_size = reorderer_size, .batch = reorderer_batch};

	(void)state;
	for (uint64_t n = 0; n <= NR_PLACES; n++) {
		struct reorderer layer = {.held_write = n};
		struct trial *t = begin_trial();

		layer.lower = t->device.io;
		assert_int_equal(thinp_io_create(&table, &layer, NULL, &t->toy.io), 0);
		assert_int_equal(run_workload(t), 0);
		expect_found(t, n > 0);
		thinp_io_close(t->toy.io);
		end_trial(t);
	}
}

/* --- what is told of a failure --- */

static void a_failure_comes_back_by_its_number(void **state)
{
	struct trial *t = *state;
	struct thinp_crash *crash = NULL;
	struct thinp_crash_state found = {.size = sizeof(found)};
	struct thinp_io *io = NULL;
	char text[2][1000];
	int r;

	t->toy.plants = TOY_NO_FIRST_FLUSH;
	assert_int_equal(run_workload(t), 0);
	assert_int_equal(thinp_crash_create(t->device.record, NULL, &crash), 0);
	r = thinp_crash_run(crash, check, &t->toy);
	assert_int_not_equal(r, 0);
	assert_int_equal(thinp_crash_get_state(crash, &found), 0);
	thinp_crash_describe(crash, text[0], sizeof(text[0]));
	thinp_crash_destroy(crash);

	assert_int_equal(thinp_crash_create(t->device.record, NULL, &crash), 0);
	assert_int_equal(thinp_crash_seek(crash, found.number, &io), 0);
	thinp_crash_describe(crash, text[1], sizeof(text[1]));
	assert_string_equal(text[0], text[1]);
	assert_int_equal(check(&t->toy, io, &found), r);
	thinp_crash_destroy(crash);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_sound_store_passes_in_all_states),
		CASE(a_sound_store_passes_whatever_is_chosen),
		cmocka_unit_test(a_sound_store_passes_when_its_device_fails_and_says_so),
		CASE(a_store_that_forgets_the_first_flush_is_found),
		CASE(a_store_that_forgets_the_second_flush_is_found),
		CASE(a_store_that_writes_in_place_is_found),
		CASE(a_superblock_over_sectors_without_a_checksum_is_found),
		cmocka_unit_test(COW_11_a_store_that_only_repeats_a_failed_flush_is_found),
		cmocka_unit_test(a_device_that_drops_a_flush_is_found),
		cmocka_unit_test(a_device_that_tears_a_write_is_found),
		cmocka_unit_test(a_device_that_acknowledges_a_write_that_failed_is_found),
		cmocka_unit_test(a_device_that_loses_a_write_is_found),
		cmocka_unit_test(a_layer_that_reorders_over_a_flush_is_found),
		CASE(a_failure_comes_back_by_its_number),
	};

	return cmocka_run_group_tests_name("io/crash_plants", tests, NULL, NULL);
}
