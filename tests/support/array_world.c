/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/array_world.c - arrays beside their models.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/array_world.h"

#include "base/bytes.h"
#include "format/array_block.h"
#include "support/meta_check.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static uint32_t thing_of(const void *value)
{
	uint64_t thing = tp_load_le64(value);

	assert_true(thing < WORLD_THINGS);
	return (uint32_t)thing;
}

/* --- the type ---------------------------------------------------------------------------------------------------------- */

static int inc_things(void *ctx, const void *values_le, size_t nr)
{
	struct world *world = ctx;

	assert_true(nr > 0);
	if (world->fail_with)
		return world->fail_with;
	for (size_t i = 0; i < nr; i++)
		world->counts[thing_of((const uint8_t *)values_le + i * world->type.value_size)]++;
	return 0;
}

static int dec_things(void *ctx, const void *values_le, size_t nr)
{
	struct world *world = ctx;

	assert_true(nr > 0);
	if (world->fail_with)
		return world->fail_with;
	for (size_t i = 0; i < nr; i++) {
		uint32_t thing = thing_of((const uint8_t *)values_le + i * world->type.value_size);

		assert_true(world->counts[thing] > 0);
		world->counts[thing]--;
	}
	return 0;
}

static bool same_thing(void *ctx, const void *a_le, const void *b_le)
{
	(void)ctx;
	return thing_of(a_le) == thing_of(b_le);
}

static uint64_t cost_of_things(void *ctx, size_t nr)
{
	return ((struct world *)ctx)->cost * nr;
}

void world_value(const struct world *world, uint32_t thing, uint8_t *value)
{
	for (uint32_t i = 8; i < world->type.value_size; i++)
		value[i] = (uint8_t)(thing * 31 + i);
	tp_store_le64(value, thing);
}

/* --- making and releasing ---------------------------------------------------------------------------------------------- */

static void copy_arrays(struct world_array *to, const struct world_array *from)
{
	for (size_t i = 0; i < WORLD_ARRAYS; i++) {
		free(to[i].things);
		to[i] = from[i];
		if (from[i].things) {
			to[i].things = calloc(from[i].nr ? from[i].nr : 1, sizeof(uint32_t));
			assert_non_null(to[i].things);
			memcpy(to[i].things, from[i].things, from[i].nr * sizeof(uint32_t));
		}
	}
}

struct world *world_new(uint32_t value_size, uint64_t nr_blocks, uint32_t cache_blocks)
{
	struct world *world = calloc(1, sizeof(*world));

	assert_non_null(world);
	world->f = change_fixture_new(nr_blocks, cache_blocks);
	world->type = (struct thinp_array_type){.size = sizeof(world->type),
						.value_size = value_size,
						.ctx = world,
						.inc = inc_things,
						.dec = dec_things,
						.equal = same_thing,
						.cost = cost_of_things};
	return world;
}

void world_free(struct world *world)
{
	for (size_t i = 0; i < WORLD_ARRAYS; i++) {
		free(world->arrays[i].things);
		free(world->committed_arrays[i].things);
	}
	change_fixture_free(world->f);
	free(world);
}

uint32_t world_per_block(const struct world *world)
{
	return tp_array_max_entries(world->type.value_size);
}

static void forget_array(struct world_array *array)
{
	free(array->things);
	*array = (struct world_array){0};
}

/* --- operations -------------------------------------------------------------------------------------------------------- */

static uint32_t first_thing(uint64_t index)
{
	return (uint32_t)(index * 7 % WORLD_THINGS);
}

static int give_values(void *ctx, uint64_t begin, uint32_t nr_values, void *values_le)
{
	struct world *world = ctx;
	uint8_t *values = values_le;

	for (uint32_t i = 0; i < nr_values; i++) {
		world_value(world, first_thing(begin + i), values + (size_t)i * world->type.value_size);
		world->counts[first_thing(begin + i)]++;
	}
	return 0;
}

int world_make(struct world *world, size_t i, uint64_t nr)
{
	struct world_array *array = &world->arrays[i];
	uint32_t before[WORLD_THINGS];
	thinp_block_t root = THINP_NO_BLOCK;
	int r;

	assert_false(array->is_there);
	memcpy(before, world->counts, sizeof(before));
	r = nr ? thinp_array_new(world->f->tm, &world->type, nr, give_values, world, &root)
	       : thinp_array_create(world->f->tm, &world->type, &root);
	if (r) {
		assert_true(root == THINP_NO_BLOCK);
		memcpy(world->counts, before, sizeof(before));
		return r;
	}
	*array = (struct world_array){.is_there = true, .root = root, .nr = nr};
	array->things = calloc(nr ? nr : 1, sizeof(uint32_t));
	assert_non_null(array->things);
	for (uint64_t k = 0; k < nr; k++)
		array->things[k] = first_thing(k);
	return 0;
}

int world_set(struct world *world, size_t i, uint64_t index, uint32_t thing)
{
	struct world_array *array = &world->arrays[i];
	thinp_block_t root = THINP_NO_BLOCK;
	uint8_t value[THINP_BLOCK_SIZE];
	int r;

	world_value(world, thing, value);
	r = thinp_array_set(world->f->tm, &world->type, array->root, index, value, &root);
	if (r) {
		assert_true(root == THINP_NO_BLOCK);
		return r;
	}
	assert_true(index < array->nr);
	if (array->things[index] != thing)
		world->counts
			[thing]++; /* the reference that was handed over; for the same thing there is one already */
	array->things[index] = thing;
	array->root = root;
	return 0;
}

int world_resize(struct world *world, size_t i, uint64_t nr, uint32_t thing)
{
	struct world_array *array = &world->arrays[i];
	thinp_block_t root = THINP_NO_BLOCK;
	uint8_t value[THINP_BLOCK_SIZE];
	int r;

	world_value(world, thing, value);
	r = thinp_array_resize(world->f->tm, &world->type, array->root, array->nr, nr, value, &root);
	if (r) {
		assert_true(root == THINP_NO_BLOCK);
		return r;
	}
	array->things = realloc(array->things, (nr ? nr : 1) * sizeof(uint32_t));
	assert_non_null(array->things);
	for (uint64_t k = array->nr; k < nr; k++)
		array->things[k] = thing;
	array->nr = nr;
	array->root = root;
	return 0;
}

int world_drop(struct world *world, size_t i)
{
	int r = thinp_array_del(world->f->tm, &world->type, world->arrays[i].root);

	if (!r)
		forget_array(&world->arrays[i]);
	return r;
}

void world_snapshot(struct world *world, size_t from, size_t to)
{
	struct world_array *array = &world->arrays[to];

	assert_false(array->is_there);
	assert_int_equal(thinp_tm_inc(world->f->tm, world->arrays[from].root, 1, THINP_CAUSE_USER), 0);
	*array = world->arrays[from];
	array->things = calloc(array->nr ? array->nr : 1, sizeof(uint32_t));
	assert_non_null(array->things);
	memcpy(array->things, world->arrays[from].things, array->nr * sizeof(uint32_t));
}

void world_commit(struct world *world)
{
	change_fixture_commit(world->f);
	copy_arrays(world->committed_arrays, world->arrays);
	memcpy(world->committed_counts, world->counts, sizeof(world->counts));
}

void world_abort(struct world *world)
{
	change_fixture_abort(world->f);
	copy_arrays(world->arrays, world->committed_arrays);
	memcpy(world->counts, world->committed_counts, sizeof(world->counts));
}

/* --- checking ---------------------------------------------------------------------------------------------------------- */

struct values {
	const struct world *world;
	const struct world_array *array;
	uint64_t next;
};

static int compare_span(void *ctx, const struct thinp_array_span *span)
{
	struct values *values = ctx;

	for (uint32_t i = 0; i < span->nr_values; i++) {
		uint8_t wanted[THINP_BLOCK_SIZE];

		world_value(values->world, values->array->things[values->next++], wanted);
		assert_memory_equal((const uint8_t *)span->values_le + (size_t)i * span->value_size, wanted,
				    span->value_size);
	}
	return 0;
}

static void compare_values(struct world *world, const struct world_array *array)
{
	struct values values = {.world = world, .array = array};
	struct thinp_reader *reader = thinp_tm_reader(world->f->tm);
	uint64_t nr = 0;

	assert_int_equal(thinp_array_nr_values(reader, &world->type, array->root, &nr), 0);
	assert_int_equal(nr, array->nr);
	assert_int_equal(thinp_array_walk(reader, &world->type, array->root, 0, array->nr, compare_span, &values), 0);
	assert_int_equal(values.next, array->nr);
}

static void count_things(struct meta_check *check, const struct meta_kind *kind, const uint64_t *keys,
			 const uint8_t *values_le, uint32_t nr)
{
	(void)keys;
	for (uint32_t i = 0; i < nr; i++)
		meta_check_refer_data(check, thing_of(values_le + (size_t)i * kind->value_size));
}

void world_check(struct world *world)
{
	struct meta_array kind = {.values = {.name = "array", .value_size = world->type.value_size}};
	struct meta_check check;

	kind.values.take = count_things;
	meta_check_begin(&check, thinp_tm_reader(world->f->tm), world->f->image.nr_blocks, WORLD_THINGS);
	meta_check_refer(&check, 0, world);
	for (size_t i = 0; i < WORLD_ARRAYS; i++) {
		if (!world->arrays[i].is_there)
			continue;
		compare_values(world, &world->arrays[i]);
		meta_check_array(&check, world->arrays[i].root, &kind, world->arrays[i].nr);
	}
	meta_check_compare_tm(&check, world->f->tm);
	for (uint32_t thing = 0; thing < WORLD_THINGS; thing++)
		if (check.data_counts[thing] != world->counts[thing])
			fail_msg("thing %u: count %u, %u references", thing, world->counts[thing],
				 check.data_counts[thing]);
	meta_check_end(&check);
}
