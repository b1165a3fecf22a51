/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/alloc/test_table.c - reading tables of functions, old and new, whole and not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <thinp/error.h>

#include "alloc/table.h"

static struct thinp_alloc new_table(struct thinp_memory_map **map)
{
	struct thinp_alloc table = {.size = sizeof(table)};

	assert_int_equal(thinp_memory_map_create(10, NULL, map), 0);
	thinp_memory_map_get_alloc(*map, &table);
	return table;
}

static void a_whole_table_is_taken(void **state)
{
	struct thinp_memory_map *map;
	struct thinp_alloc table = new_table(&map);
	struct thinp_alloc taken;

	(void)state;
	assert_int_equal(tp_alloc_table_take(&taken, &table), 0);
	assert_memory_equal(&taken, &table, sizeof(table));
	thinp_memory_map_destroy(map);
}

static void a_missing_function_is_named(void **state)
{
	static const struct {
		size_t at;
		const char *name;
	} functions[] = {
		{offsetof(struct thinp_alloc, take), " take"},       {offsetof(struct thinp_alloc, inc), " inc"},
		{offsetof(struct thinp_alloc, dec), " dec"},         {offsetof(struct thinp_alloc, count), " count"},
		{offsetof(struct thinp_alloc, reserve), " reserve"},
	};
	struct thinp_memory_map *map;
	struct thinp_alloc table = new_table(&map);
	struct thinp_alloc taken = {.size = 3};

	(void)state;
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		struct thinp_error_info info = {.size = sizeof(info)};
		struct thinp_alloc less = table;

		memset((uint8_t *)&less + functions[i].at, 0, sizeof(void *));
		assert_int_equal(tp_alloc_table_take(&taken, &less), THINP_EINVAL);
		thinp_error_last(&info);
		assert_non_null(strstr(info.message, functions[i].name));
		assert_int_equal(taken.size, 3);
	}
	assert_int_equal(tp_alloc_table_take(&taken, NULL), THINP_EINVAL);
	thinp_memory_map_destroy(map);
}

static void a_table_of_another_version_is_taken_if_it_can_be(void **state)
{
	struct {
		struct thinp_alloc table;
		void *more;
	} newer = {.more = NULL};
	struct thinp_memory_map *map;
	struct thinp_alloc table = new_table(&map);
	struct thinp_alloc taken;

	(void)state;
	newer.table = table;
	newer.table.size = sizeof(newer);
	assert_int_equal(tp_alloc_table_take(&taken, &newer.table), 0);
	assert_int_equal(taken.size, sizeof(taken));
	newer.more = map;
	assert_int_equal(tp_alloc_table_take(&taken, &newer.table), THINP_ENOTSUP);
	table.size = offsetof(struct thinp_alloc, reserve); /* reserve is not of it */
	assert_int_equal(tp_alloc_table_take(&taken, &table), THINP_EINVAL);
	table.size = 0;
	assert_int_equal(tp_alloc_table_take(&taken, &table), THINP_EINVAL);
	thinp_memory_map_destroy(map);
}

static void the_map_fills_in_as_much_of_a_table_as_there_is(void **state)
{
	struct thinp_alloc table = {.size = offsetof(struct thinp_alloc, reserve)};
	struct thinp_memory_map *map;

	(void)state;
	assert_int_equal(thinp_memory_map_create(10, NULL, &map), 0);
	thinp_memory_map_get_alloc(map, &table);
	assert_int_equal(table.size, offsetof(struct thinp_alloc, reserve));
	assert_true(table.take && table.inc && table.dec && table.count);
	assert_null(table.reserve);
	thinp_memory_map_destroy(map);
	thinp_memory_map_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whole_table_is_taken),
		cmocka_unit_test(a_missing_function_is_named),
		cmocka_unit_test(a_table_of_another_version_is_taken_if_it_can_be),
		cmocka_unit_test(the_map_fills_in_as_much_of_a_table_as_there_is),
	};

	return cmocka_run_group_tests_name("alloc/table", tests, NULL, NULL);
}
