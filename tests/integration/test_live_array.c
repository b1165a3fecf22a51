/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arrays and those who look at the open transaction: every call is one change, behind the gate.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "store/store.h"

#include <thinp/array.h>

enum { NR_BLOCKS = 2048, NR_VALUES = 1000 };

static const struct thinp_array_type array_type = {.size = sizeof(array_type), .value_size = 8};

static struct thinp_io *io;

static int set_up(void **state)
{
	const struct thinp_io_opts io_opts = {.size = sizeof(io_opts), .nr_blocks = NR_BLOCKS};
	const struct thinp_store_opts opts = {.size = sizeof(opts), .flags = THINP_STORE_CREATE | THINP_STORE_LIVE};
	struct thinp_store *store;

	if (thinp_io_open_memory(&io_opts, &io) || thinp_store_open(io, &opts, &store))
		return -1;
	*state = store;
	return 0;
}

static int tear_down(void **state)
{
	thinp_store_close(*state);
	thinp_io_close(io);
	return 0;
}

static uint64_t nr_changes(const struct thinp_store *store)
{
	assert_false(store->live.is_changing);
	return store->live.nr_changes;
}

#define ONE_CHANGE(store, call, result)                                                                                \
	do {                                                                                                           \
		uint64_t before_ = nr_changes(store);                                                                  \
		assert_int_equal(call, result);                                                                        \
		assert_int_equal(nr_changes(store), before_ + 1);                                                      \
	} while (0)

static void every_change_of_an_array_is_one_change(void **state)
{
	struct thinp_store *store = *state;
	struct thinp_tm *tm = thinp_store_tm(store);
	const uint64_t value = 1;
	thinp_block_t root;

	assert_int_equal(thinp_store_begin(store), 0);
	ONE_CHANGE(store, thinp_array_create(tm, &array_type, &root), 0);
	ONE_CHANGE(store, thinp_array_del(tm, &array_type, root), 0);
	ONE_CHANGE(store, thinp_array_new(tm, &array_type, NR_VALUES, NULL, NULL, &root), 0);
	ONE_CHANGE(store, thinp_array_set(tm, &array_type, root, 3, &value, &root), 0);
	ONE_CHANGE(store, thinp_array_set(tm, &array_type, root, NR_VALUES, &value, &root), THINP_ENODATA);
	ONE_CHANGE(store, thinp_array_resize(tm, &array_type, root, NR_VALUES, 2 * NR_VALUES, NULL, &root), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_change_of_an_array_is_one_change, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("integration/live_array", tests, NULL, NULL);
}
