/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inserts in which something fails: space, memory, the device, counts, values; and nodes that are damaged.
 */
#include "support/image_expect.h"
#include "support/tree_grow.h"

#include "base/bytes.h"
#include "unit/base/random.h"

#include <thinp/error.h>

#include <stdlib.h>

/* One more entry for a tree that is about to split on every level; inserts it as one key, or as a batch of several. */
struct attempt {
	uint32_t nr_levels;
	bool is_shared; /* with a snapshot */
	bool is_batch;
	uint64_t new_upper; /* the key of an upper level to insert under: 1 is there, 2 is not */
};

static const struct attempt attempts[] = {
	{1, false, false, 1}, {1, true, false, 1}, {1, false, true, 1}, {1, true, true, 1},  {2, false, false, 1},
	{2, true, false, 1},  {2, true, true, 1},  {3, true, false, 2}, {3, false, true, 2}, {2, true, true, 2},
};
#define NR_ATTEMPTS (sizeof(attempts) / sizeof(*attempts))

struct scene {
	struct tree_grow g;
	struct tree_snapshots s;
	uint32_t nr_values; /* that are in the trees */
};

static void keys_of(const struct attempt *a, uint64_t upper, uint64_t key, uint64_t *keys)
{
	for (uint32_t i = 0; i + 1 < a->nr_levels; i++)
		keys[i] = upper;
	keys[a->nr_levels - 1] = key;
}

/* Full leaves of three entries, 252 of them and more, committed: the next key splits all the way up. */
static void begin(struct scene *scene, const struct attempt *a)
{
	uint64_t keys[756 * 3];

	*scene = (struct scene){.nr_values = 0};
	tree_grow_begin(&scene->g, 2048, a->nr_levels, 1000);
	for (uint64_t i = 0; i < 756; i++)
		keys_of(a, 1, 10 * i, keys + i * a->nr_levels);
	tree_grow_insert_many(&scene->g, keys, 756);
	if (a->is_shared)
		tree_grow_snapshot(&scene->g, &scene->s);
	tree_change_commit(scene->g.t);
	scene->nr_values = scene->g.t->next_value;
}

static int try(struct scene *scene, const struct attempt *a)
{
	uint64_t keys[5 * 3];
	uint8_t values[5 * 1000];
	struct tree_change *t = scene->g.t;
	size_t nr = a->is_batch ? 5 : 1;

	for (uint64_t i = 0; i < nr; i++) {
		keys_of(a, a->new_upper, 3333 + 1500 * i, keys + i * a->nr_levels);
		tree_change_value(t, values + i * 1000);
	}
	if (a->is_batch)
		return thinp_btree_insert_many(t->tm, &t->type, scene->g.root, keys, values, nr, &scene->g.root, NULL);
	return thinp_btree_insert(t->tm, &t->type, scene->g.root, keys, values, &scene->g.root, NULL);
}

/* After a failure: the root is the old one; the transaction goes on with nothing changed, or refuses all. After the abort
 * everything is as before. */
static void expect_nothing_lost(struct scene *scene, thinp_block_t root, uint32_t *counts)
{
	struct tree_change *t = scene->g.t;
	const uint64_t keys[3] = {0};
	uint8_t value[1000] = {0};

	t->fail_at = t->value_fail_at = 0;
	block_device_fail(&t->device, 0, 0);
	assert_int_equal(scene->g.root, root);
	if (thinp_tm_status(t->tm)) {
		assert_int_equal(thinp_btree_insert(t->tm, &t->type, root, keys, value, &scene->g.root, NULL),
				 THINP_EMUSTABORT);
		tree_change_abort(t);
		memcpy(t->counts, counts, TREE_CHANGE_MAX_VALUES * sizeof(*counts));
	}
	for (uint32_t i = scene->nr_values; i < t->next_value; i++)
		t->counts[i] = 0; /* still the caller's, who drops them */
	tree_grow_expect(&scene->g);
	tree_grow_expect_snapshots(&scene->g, &scene->s);
}

static void end(struct scene *scene)
{
	tree_grow_free_snapshots(&scene->s);
	ordered_map_free(&scene->g.map);
	tree_change_free(scene->g.t);
}

/* Goes through all attempts, with each call failing that arm() lets fail, until none does. */
static void fail_everywhere(void (*arm)(struct tree_change *t, size_t n),
			    bool (*has_failed)(struct tree_change *t, size_t n), int code)
{
	for (size_t i = 0; i < NR_ATTEMPTS; i++) {
		bool is_done = false;

		for (size_t n = 1; !is_done; n++) {
			uint32_t *counts = malloc(TREE_CHANGE_MAX_VALUES * sizeof(*counts));
			struct scene scene;
			thinp_block_t root;
			int r;

			begin(&scene, &attempts[i]);
			assert_non_null(counts);
			memcpy(counts, scene.g.t->counts, TREE_CHANGE_MAX_VALUES * sizeof(*counts));
			root = scene.g.root;
			arm(scene.g.t, n);
			r = try(&scene, &attempts[i]);
			is_done = !has_failed(scene.g.t, n);
			if (!is_done && r) {
				assert_int_equal(r, code);
				expect_detail(code);
				expect_nothing_lost(&scene, root, counts);
			} else {
				assert_int_equal(r, 0);
			}
			end(&scene);
			free(counts);
		}
	}
}

static void arm_map(struct tree_change *t, size_t n)
{
	t->nr_calls = 0;
	t->fail_at = n;
	t->fail_with = THINP_EIO;
}

static bool map_has_failed(struct tree_change *t, size_t n)
{
	return t->nr_calls >= n;
}

static void arm_map_with_no_space(struct tree_change *t, size_t n)
{
	arm_map(t, n);
	t->fail_with = THINP_ENOSPC;
}

static void BT_04_BT_05_BT_21_ERRLOOP_over_all_calls_of_the_map(void **state)
{
	(void)state;
	fail_everywhere(arm_map, map_has_failed, THINP_EIO);
}

static void BT_04_BT_05_BT_21_no_space_at_every_step(void **state)
{
	(void)state;
	fail_everywhere(arm_map_with_no_space, map_has_failed, THINP_ENOSPC);
}

static void arm_memory(struct tree_change *t, size_t n)
{
	alloc_counting_fail(&t->memory, n);
}

static bool memory_has_failed(struct tree_change *t, size_t n)
{
	(void)n;
	return alloc_counting_has_failed(&t->memory);
}

static void BT_21_OOMLOOP(void **state)
{
	(void)state;
	fail_everywhere(arm_memory, memory_has_failed, THINP_ENOMEM);
}

static void arm_values(struct tree_change *t, size_t n)
{
	t->nr_value_calls = 0;
	t->value_fail_at = n;
}

static bool values_have_failed(struct tree_change *t, size_t n)
{
	return t->nr_value_calls >= n;
}

static void a_failure_to_count_values_is_passed_up(void **state)
{
	(void)state;
	fail_everywhere(arm_values, values_have_failed, THINP_EREFCOUNT);
}

/* --- only a leaf is copied ------------------------------------------------------------------------------------------- */

/* Leaves with two entries of three, committed; then the way to the first of them is shadowed. */
static void begin_behind_another(struct scene *scene, const struct attempt *a)
{
	uint64_t keys[252 * 3];

	begin(scene, a);
	for (uint64_t i = 0; i < 252; i++)
		keys_of(a, 1, 30 * i + 5, keys + i * a->nr_levels);
	tree_grow_insert_many(&scene->g, keys, 252);
	tree_change_commit(scene->g.t);
	keys_of(a, 1, 1, keys);
	tree_grow_insert(&scene->g, keys);
}

/* Another leaf gets a key. A failure leaves everything as it is, and the transaction goes on. */
static void copy_leaf_failing(const struct attempt *a, void (*arm)(struct tree_change *t, size_t n),
			      bool (*has_failed)(struct tree_change *t, size_t n), int code)
{
	struct scene scene;
	bool is_done = false;
	uint64_t keys[3];

	begin_behind_another(&scene, a);
	for (uint64_t n = 1; !is_done; n++) {
		struct tree_change *t = scene.g.t;
		thinp_block_t root = scene.g.root;
		uint32_t number = t->next_value;
		uint8_t value[1000];
		int r;

		keys_of(a, 1, 30 * (n + 100) + 1, keys);
		tree_change_value(t, value);
		t->nr_taken = t->most_asked = 0;
		arm(t, n);
		r = thinp_btree_insert(t->tm, &t->type, root, keys, value, &scene.g.root, NULL);
		is_done = !has_failed(t, n);
		t->fail_at = 0;
		alloc_counting_fail(&t->memory, 0);
		assert_int_equal(scene.g.root, root);
		assert_int_equal(r, is_done ? 0 : code);
		assert_int_equal(thinp_tm_status(t->tm), 0);
		assert_true(t->most_asked <= 1);
		assert_true(t->nr_taken <= 1);
		if (is_done)
			ordered_map_set(&scene.g.map, keys, number);
		else
			t->counts[number] = 0; /* still the caller's, who drops it */
		tree_grow_expect(&scene.g);
	}
	end(&scene);
}

static void BT_04_BT_05_a_leaf_alone_is_copied_or_nothing_is_changed(void **state)
{
	static const struct attempt plain = {1, false, false, 1}, nested = {2, false, false, 1};

	(void)state;
	copy_leaf_failing(&plain, arm_map, map_has_failed, THINP_EIO);
	copy_leaf_failing(&nested, arm_map, map_has_failed, THINP_EIO);
	copy_leaf_failing(&plain, arm_map_with_no_space, map_has_failed, THINP_ENOSPC);
	copy_leaf_failing(&plain, arm_memory, memory_has_failed, THINP_ENOMEM);
}

/* --- H4, ENOSPC before anything is changed ---------------------------------------------------------------------------- */

static void ENOSPC_of_the_reserve_changes_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < NR_ATTEMPTS; i++) {
		struct scene scene;
		uint64_t generation;
		thinp_block_t root;

		begin(&scene, &attempts[i]);
		root = scene.g.root;
		scene.g.t->is_full = true;
		scene.g.t->nr_taken = 0;
		generation = thinp_tm_generation(scene.g.t->tm);
		assert_int_equal(try(&scene, &attempts[i]), THINP_ENOSPC);
		assert_int_equal(thinp_tm_generation(scene.g.t->tm), generation);
		assert_int_equal(scene.g.t->nr_taken, 0);
		assert_int_equal(thinp_tm_status(scene.g.t->tm), 0);
		scene.g.t->is_full = false;
		expect_nothing_lost(&scene, root, NULL);
		assert_int_equal(try(&scene, &attempts[i]), 0);
		end(&scene);
	}
}

/* --- BADBLK ---------------------------------------------------------------------------------------------------------- */

/* Writes a node of its own with one field made wrong: by thinp_tm_new_block(), whose blocks are checked only when they
 * come from the device. */
static thinp_block_t bad_node(struct tree_change *t, uint32_t flags, uint32_t nr, uint32_t max, uint32_t value_size)
{
	struct thinp_buffer *buffer;
	thinp_block_t block;
	void *data;
	uint8_t *p;

	assert_int_equal(thinp_tm_new_block(t->tm, thinp_block_type_node(), THINP_CAUSE_NEW, &block, &buffer, &data),
			 0);
	p = data;
	tp_store_le32(p + 4, flags);
	tp_store_le32(p + 16, nr);
	tp_store_le32(p + 20, max);
	tp_store_le32(p + 24, value_size);
	for (uint32_t i = 0; i < nr && i < 300; i++)
		tp_store_le64(p + 32 + 8 * (size_t)i, 10 * (uint64_t)i);
	thinp_tm_unlock(t->tm, buffer);
	assert_int_equal(thinp_bm_flush(t->bm), 0);
	thinp_memory_map_commit(t->map);
	thinp_bm_abort(t->bm); /* out of the cache: it is read from the device from now on */
	thinp_tm_begin(t->tm);
	return block;
}

static void expect_refused(uint32_t flags, uint32_t nr, uint32_t max, uint32_t value_size)
{
	struct tree_change *t = tree_change_new(64, 1, 8);
	thinp_block_t root = bad_node(t, flags, nr, max, value_size);
	thinp_block_t new_root = 4711;
	uint64_t key = 55;
	uint8_t value[8];

	tree_change_value(t, value);
	t->nr_taken = 0;
	assert_int_equal(thinp_btree_insert(t->tm, &t->type, root, &key, value, &new_root, NULL), THINP_ECORRUPT);
	assert_int_equal(thinp_btree_insert_many(t->tm, &t->type, root, &key, value, 1, &new_root, NULL),
			 THINP_ECORRUPT);
	assert_int_equal(new_root, 4711);
	assert_int_equal(t->nr_taken, 0);
	assert_int_equal(thinp_tm_status(t->tm), 0);
	tree_change_free(t);
}

static void BT_08_BT_09_nodes_with_bad_headers_are_refused_before_anything_is_changed(void **state)
{
	(void)state;
	expect_refused(2, 253, 252, 8);        /* more entries than room */
	expect_refused(2, UINT32_MAX, 252, 8); /* far more */
	expect_refused(2, 3, 300, 8);          /* more room than a block has */
	expect_refused(2, 3, UINT32_MAX, 8);   /* */
	expect_refused(3, 3, 252, 8);          /* both flags */
	expect_refused(0, 3, 252, 8);          /* none */
	expect_refused(1, 0, 252, 8);          /* internal, without entries */
	expect_refused(1, 3, 126, 24);         /* internal with values */
	expect_refused(2, 3, 252, 0);          /* no values */
	expect_refused(2, 2, 2, 8);            /* full, and too small to be split */
	expect_refused(2, 0, 0, 8);            /* no room at all */
	expect_refused(1, 1, 252, 8);          /* its child is block 0 */
}

static void BT_10_a_leaf_with_values_of_another_size_is_refused(void **state)
{
	(void)state;
	expect_refused(2, 3, 126, 24);
	expect_refused(2, 3, 336, 4);
	expect_refused(2, 126, 126, 24);
}

/* A smaller capacity than the computed one is legal, and goes over to the nodes that come of a split. */
static void a_leaf_of_a_smaller_capacity_is_split(void **state)
{
	(void)state;
	for (uint32_t max = 3; max <= 12; max++) {
		struct tree_change *t = tree_change_new(64, 1, 8);
		thinp_block_t root = bad_node(t, 2, max, max, 8);

		t->type.inc = NULL;
		t->type.dec = NULL;
		for (uint64_t key = 1; key < 400; key += 10) {
			uint8_t value[8] = {0};

			assert_int_equal(thinp_btree_insert(t->tm, &t->type, root, &key, value, &root, NULL), 0);
			for (uint64_t k = 1; k <= key; k += 10)
				assert_int_equal(thinp_btree_lookup(thinp_tm_reader(t->tm), &t->type, root, &k, NULL),
						 0);
		}
		for (uint64_t key = 0; key < 10 * max; key += 10)
			assert_int_equal(thinp_btree_lookup(thinp_tm_reader(t->tm), &t->type, root, &key, NULL), 0);
		tree_change_free(t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(BT_04_BT_05_BT_21_ERRLOOP_over_all_calls_of_the_map),
		cmocka_unit_test(BT_04_BT_05_BT_21_no_space_at_every_step),
		cmocka_unit_test(BT_21_OOMLOOP),
		cmocka_unit_test(a_failure_to_count_values_is_passed_up),
		cmocka_unit_test(BT_04_BT_05_a_leaf_alone_is_copied_or_nothing_is_changed),
		cmocka_unit_test(ENOSPC_of_the_reserve_changes_nothing),
		cmocka_unit_test(BT_08_BT_09_nodes_with_bad_headers_are_refused_before_anything_is_changed),
		cmocka_unit_test(BT_10_a_leaf_with_values_of_another_size_is_refused),
		cmocka_unit_test(a_leaf_of_a_smaller_capacity_is_split),
	};

	return cmocka_run_group_tests_name("btree/insert_failing", tests, NULL, NULL);
}
