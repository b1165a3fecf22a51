/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The leaves of devices that share some, when these are remembered from one device to the next: runs are as without
 * remembering, known leaves are not read, and damage shows in the same way.
 */
#include "support/image_expect.h"
#include "support/image_pool.h"
#include "thin/runs.h"

#include "unit/base/random.h"

/* As many devices as a leaf of roots has room for. */
enum { PER_LEAF = 3, NR_DEVICES = PER_LEAF, NR_MAPPED = 300, MOST_RUNS = NR_MAPPED };

static const struct tree_shape flat = {.per_leaf = PER_LEAF}, deep = {.per_leaf = PER_LEAF, .per_node = 4};

/* --- a pool whose devices share ---------------------------------------------------------------------------------------- */

struct sharing {
	struct image_pool image;
	struct thinp_run runs[NR_DEVICES][MOST_RUNS];
	struct image_thin devices[NR_DEVICES];
	struct thinp_pool *pool;
	struct known {
		size_t nr_runs; /* 0: not known */
		struct thinp_run runs[PER_LEAF];
	} known[IMAGE_POOL_BLOCKS];
};

/* All devices have the same virtual blocks, so that their trees are of one shape. */
static void add_runs(struct sharing *s, size_t device, const struct thinp_run *runs, size_t nr)
{
	memcpy(s->runs[device], runs, nr * sizeof(*runs));
	s->devices[device] = (struct image_thin){.dev_id = device, .runs = s->runs[device], .nr_runs = nr};
}

static thinp_block_t root_of(struct sharing *s, size_t device)
{
	return tree_child(&s->image.image, s->image.sb.mapping_root, (uint32_t)device);
}

static bool have_same_entries(struct image *image, thinp_block_t a, thinp_block_t b)
{
	uint32_t nr = tree_nr_entries(image, a);

	assert_int_equal(tree_nr_entries(image, b), nr);
	for (uint32_t i = 0; i < nr; i++)
		if (tree_key(image, a, i) != tree_key(image, b, i) ||
		    tree_child(image, a, i) != tree_child(image, b, i))
			return false;
	return true;
}

/* Lets nodes of a tree take the place of equal ones in another; the depth is that of a test's tree. */
static void share(struct image *image, thinp_block_t from, thinp_block_t to)
{
	if (tree_is_leaf(image, to))
		return;
	for (uint32_t i = 0; i < tree_nr_entries(image, to); i++) {
		thinp_block_t mine = tree_child(image, from, i), others = tree_child(image, to, i);

		share(image, mine, others);
		if (have_same_entries(image, mine, others))
			tree_set_child(image, to, i, mine);
	}
}

static void sharing_open(struct sharing *s, const struct tree_shape *shape)
{
	const struct thinp_pool_opts opts = {.size = sizeof(opts), .cache_blocks = 1};

	image_pool_open(&s->image, shape, s->devices, NR_DEVICES);
	for (size_t i = 1; i < NR_DEVICES; i++)
		share(&s->image.image, root_of(s, 0), root_of(s, i));
	assert_int_equal(thinp_pool_open(s->image.image.io, &opts, &s->pool), 0);
	memset(s->known, 0, sizeof(s->known));
}

static void sharing_close(struct sharing *s)
{
	thinp_pool_close(s->pool);
	image_pool_close(&s->image);
}

/* --- runs ------------------------------------------------------------------------------------------------------------ */

struct list {
	struct sharing *sharing;
	struct thinp_run runs[MOST_RUNS];
	size_t nr_runs;
	size_t nr_calls, stop_at;
	size_t nr_not_read;
};

static int take(void *ctx, const struct thinp_run *runs, size_t nr_runs)
{
	struct list *list = ctx;

	assert_true(nr_runs > 0 && list->nr_runs + nr_runs <= MOST_RUNS);
	memcpy(&list->runs[list->nr_runs], runs, nr_runs * sizeof(*runs));
	list->nr_runs += nr_runs;
	return ++list->nr_calls == list->stop_at ? 5 : 0;
}

static bool is_known(void *ctx, thinp_block_t leaf, uint64_t *first, uint64_t *last)
{
	const struct list *list = ctx;
	const struct known *known = &list->sharing->known[leaf % IMAGE_POOL_BLOCKS];

	if (!known->nr_runs)
		return false;
	*first = known->runs[0].virtual_begin;
	*last = known->runs[known->nr_runs - 1].virtual_begin + known->runs[known->nr_runs - 1].length - 1;
	return true;
}

static int take_leaf(void *ctx, thinp_block_t leaf, const struct thinp_run *runs, size_t nr_runs)
{
	struct list *list = ctx;
	struct known *known = &list->sharing->known[leaf];

	assert_int_equal(!runs, !nr_runs);
	assert_int_equal(!runs, known->nr_runs > 0);
	list->nr_not_read += !runs;
	if (runs) {
		assert_true(nr_runs <= PER_LEAF);
		memcpy(known->runs, runs, nr_runs * sizeof(*runs));
		known->nr_runs = nr_runs;
	}
	for (size_t i = 0; i < known->nr_runs; i++) {
		struct thinp_run *last = list->nr_runs ? &list->runs[list->nr_runs - 1] : NULL;

		assert_true(!i || !tp_run_continues(last, &known->runs[i]));
		if (last && tp_run_continues(last, &known->runs[i]))
			last->length += known->runs[i].length;
		else
			list->runs[list->nr_runs++] = known->runs[i];
	}
	return ++list->nr_calls == list->stop_at ? 5 : 0;
}

static int walk(struct sharing *s, size_t device, struct list *list)
{
	size_t stop_at = list->stop_at;

	*list = (struct list){.sharing = s, .stop_at = stop_at};
	return tp_pool_walk_leaves(s->pool, device, is_known, take_leaf, list);
}

static void expect_runs(struct sharing *s, size_t device)
{
	static struct list plain, remembering;

	plain.nr_runs = 0;
	assert_int_equal(thinp_pool_walk_runs(s->pool, device, 0, UINT64_MAX, take, &plain), 0);
	assert_int_equal(walk(s, device, &remembering), 0);
	assert_int_equal(remembering.nr_runs, plain.nr_runs);
	assert_memory_equal(remembering.runs, plain.runs, plain.nr_runs * sizeof(plain.runs[0]));
}

/* Runs of random lengths; some of a device are elsewhere, or younger, than those of device 0. */
static void make_runs(struct sharing *s, uint64_t *rng)
{
	struct thinp_run runs[MOST_RUNS];
	uint64_t at = 0, longest = 1 + random_below(rng, 60);
	size_t nr = 0;

	while (at < NR_MAPPED) {
		uint64_t length = 1 + random_below(rng, longest);

		runs[nr++] = (struct thinp_run){.virtual_begin = at + random_below(rng, 2),
						.data_begin = at,
						.length = length,
						.time = (uint32_t)random_below(rng, 2)};
		at += length + 1;
	}
	add_runs(s, 0, runs, nr);
	for (size_t i = 1; i < NR_DEVICES; i++) {
		add_runs(s, i, runs, nr);
		for (size_t j = 0; j < nr; j++) {
			s->runs[i][j].data_begin += random_below(rng, 8) ? 0 : 400;
			s->runs[i][j].time += random_below(rng, 8) ? 0 : 7;
		}
	}
}

static void runs_are_those_that_are_found_without_remembering(void **state)
{
	uint64_t seed = random_begin(), rng = seed;

	(void)state;
	for (size_t round = 0; round < 100; round++) {
		static struct sharing s;

		make_runs(&s, &rng);
		sharing_open(&s, round % 2 ? &deep : &flat);
		for (size_t i = 0; i < NR_DEVICES; i++)
			expect_runs(&s, random_below(&rng, 4) ? i : random_below(&rng, NR_DEVICES));
		sharing_close(&s);
	}
}

/* --- reads ----------------------------------------------------------------------------------------------------------- */

static void open_equal(struct sharing *s, const struct tree_shape *shape)
{
	static const struct thinp_run run = {.length = NR_MAPPED, .time = 1};

	for (size_t i = 0; i < NR_DEVICES; i++)
		add_runs(s, i, &run, 1);
	sharing_open(s, shape);
}

static uint64_t reads_of_walk(struct sharing *s, size_t device)
{
	struct list list = {.nr_runs = 0};
	uint64_t before = atomic_load(&s->image.image.nr_reads);

	assert_int_equal(walk(s, device, &list), 0);
	assert_int_equal(list.nr_runs, 1);
	assert_memory_equal(&list.runs[0], &s->runs[device][0], sizeof(list.runs[0]));
	return atomic_load(&s->image.image.nr_reads) - before;
}

/* What is left: the ways to the device, and nodes above the leaves. */
static void leaves_are_read_once_however_many_devices_share_them(void **state)
{
	static struct sharing s;

	(void)state;
	open_equal(&s, &flat);
	assert_true(reads_of_walk(&s, 0) > NR_MAPPED / PER_LEAF);
	for (size_t i = 1; i < NR_DEVICES; i++)
		assert_true(reads_of_walk(&s, i) < NR_MAPPED / PER_LEAF / 10);
	sharing_close(&s);
}

static void what_is_returned_at_a_leaf_that_is_not_read_ends_the_walk(void **state)
{
	struct list list = {.stop_at = 1};
	static struct sharing s;

	(void)state;
	open_equal(&s, &flat);
	reads_of_walk(&s, 0);
	assert_int_equal(walk(&s, 1, &list), 5);
	assert_int_equal(list.nr_calls, 1);
	assert_int_equal(list.nr_not_read, 1);
	sharing_close(&s);
}

/* --- damage ---------------------------------------------------------------------------------------------------------- */

/* The same failure, whether leaves are remembered or not. */
static void expect_same_failure(struct sharing *s, size_t device, const char *words)
{
	struct thinp_error_info info = {.size = sizeof(info)};
	struct list list = {.nr_runs = 0};
	int r = thinp_pool_walk_runs(s->pool, device, 0, UINT64_MAX, take, &list);

	assert_int_equal(r, THINP_ECORRUPT);
	thinp_error_last(&info);
	assert_non_null(strstr(info.message, words));
	expect_corrupt(walk(s, device, &list), info.block, info.message);
}

static void a_known_leaf_must_have_keys_that_its_parent_allows(void **state)
{
	static struct sharing s;
	struct image *image = &s.image.image;
	thinp_block_t from, to;

	(void)state;
	open_equal(&s, &flat);
	reads_of_walk(&s, 0);
	from = root_of(&s, 0);
	to = root_of(&s, 1);
	tree_set_child(image, to, 4, tree_child(image, from, 3));
	expect_same_failure(&s, 1, "begins with key");
	tree_set_child(image, to, 4, tree_child(image, from, 5));
	expect_same_failure(&s, 1, "ends with key");
	tree_set_child(image, to, 4, tree_child(image, from, 4));
	reads_of_walk(&s, 1);
	sharing_close(&s);
}

/* Its keys are where they belong, its depth is not. */
static void a_known_leaf_must_be_at_the_depth_of_all_leaves(void **state)
{
	for (uint32_t place = 0; place < 2; place++) {
		static struct sharing s;
		struct image *image = &s.image.image;
		thinp_block_t leaf, to;

		(void)state;
		open_equal(&s, &deep);
		reads_of_walk(&s, 0);
		to = root_of(&s, 1);
		leaf = tree_child(image, root_of(&s, 0), place);
		while (!tree_is_leaf(image, leaf))
			leaf = tree_child(image, leaf, 0);
		tree_set_child(image, to, place, leaf);
		expect_same_failure(&s, 1, "a leaf at depth");
		sharing_close(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_are_those_that_are_found_without_remembering),
		cmocka_unit_test(leaves_are_read_once_however_many_devices_share_them),
		cmocka_unit_test(what_is_returned_at_a_leaf_that_is_not_read_ends_the_walk),
		cmocka_unit_test(a_known_leaf_must_have_keys_that_its_parent_allows),
		cmocka_unit_test(a_known_leaf_must_be_at_the_depth_of_all_leaves),
	};

	return cmocka_run_group_tests_name("thin/leaves", tests, NULL, NULL);
}
