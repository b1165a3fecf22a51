/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/block/test_radix.c - the table from block numbers to buffers: what it finds, and what becomes of its nodes.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "block/radix.h"
#include "support/block_fixture.h"
#include "unit/base/random.h"

struct fixture {
	alignas(64) struct tp_epochs epochs;
	struct tp_radix radix;
	size_t nr_nodes; /* made so far */
};

static int setup(void **state)
{
	struct fixture *f = aligned_alloc(alignof(struct fixture), sizeof(*f));

	assert_non_null(f);
	tp_epoch_init(&f->epochs);
	tp_radix_init(&f->radix, &f->epochs);
	f->nr_nodes = 0;
	*state = f;
	return 0;
}

/* Every node that was made comes out again, whatever state it is in. */
static int teardown(void **state)
{
	struct fixture *f = *state;
	struct tp_radix_node *node;
	size_t nr = 0;

	while ((node = tp_radix_dismantle(&f->radix))) {
		free(node);
		nr++;
	}
	assert_int_equal(nr, f->nr_nodes);
	free(f);
	return 0;
}

static void *item(uint64_t n)
{
	return (void *)(uintptr_t)(n * 8 + 8);
}

/* Gives the nodes that an insertion needs; returns how many had to be made. */
static size_t give_nodes(struct fixture *f, uint64_t number)
{
	size_t nr = tp_radix_nodes_missing(&f->radix, number);

	for (size_t i = 0; i < nr; i++) {
		struct tp_radix_node *node = calloc(1, sizeof(*node));

		assert_non_null(node);
		tp_radix_add_spare(&f->radix, node);
	}
	f->nr_nodes += nr;
	assert_int_equal(tp_radix_nodes_missing(&f->radix, number), 0);
	return nr;
}

static size_t insert(struct fixture *f, uint64_t number, void *what)
{
	size_t nr_made = give_nodes(f, number);

	tp_radix_insert(&f->radix, number, what);
	return nr_made;
}

static size_t nr_retired(const struct tp_radix *radix)
{
	size_t nr = 0;

	for (const struct tp_radix_node *node = radix->retired_first; node; node = node->next)
		nr++;
	return nr;
}

static size_t nr_in_use(const struct fixture *f)
{
	return f->nr_nodes - f->radix.nr_spare - nr_retired(&f->radix);
}

/* --- finding --- */

static void an_empty_table_finds_nothing(void **state)
{
	struct fixture *f = *state;

	assert_null(tp_radix_find(&f->radix, 0));
	assert_null(tp_radix_find(&f->radix, 63));
	assert_null(tp_radix_find(&f->radix, UINT64_MAX));
	assert_int_equal(tp_radix_nr_near(&f->radix, 0), 0);
	assert_int_equal(tp_radix_nr_near(&f->radix, UINT64_MAX), 0);
}

static void only_what_was_inserted_is_found(void **state)
{
	static const uint64_t numbers[] = {0, 1, 63, 64, 4095, 4096, 16320, 1 << 22, UINT64_C(1) << 63, UINT64_MAX};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		uint64_t number = numbers[i];

		assert_null(tp_radix_find(&f->radix, number));
		insert(f, number, item(i));
		for (size_t k = 0; k <= i; k++)
			assert_ptr_equal(tp_radix_find(&f->radix, numbers[k]), item(k));
		assert_null(tp_radix_find(&f->radix, number ^ 32)); /* none of them is a neighbour of another so */
		assert_null(tp_radix_find(&f->radix, number ^ UINT64_C(1) << 40));
	}
}

static void what_was_removed_is_not_found(void **state)
{
	struct fixture *f = *state;

	insert(f, 5, item(5));
	insert(f, 6, item(6));
	tp_radix_remove(&f->radix, 5);
	assert_null(tp_radix_find(&f->radix, 5));
	assert_ptr_equal(tp_radix_find(&f->radix, 6), item(6));
	insert(f, 5, item(7));
	assert_ptr_equal(tp_radix_find(&f->radix, 5), item(7));
}

/* --- nodes --- */

static void it_asks_for_exactly_the_nodes_of_the_path(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(insert(f, 70, item(0)), 2);
	assert_int_equal(insert(f, 71, item(1)), 0);
	assert_int_equal(insert(f, 3, item(2)), 1);
	assert_int_equal(insert(f, 4096, item(3)), 3); /* a new root, and two below it */
	assert_int_equal(insert(f, 4095, item(4)), 1);
	assert_int_equal(insert(f, UINT64_MAX, item(5)), 18); /* 8 roots, and 10 below the last */
	assert_int_equal(f->radix.nr_spare, 0);
	assert_int_equal(nr_in_use(f), 25);
}

static void a_lonely_number_needs_one_node_per_level(void **state)
{
	struct fixture *f = *state;

	for (uint32_t bit = 0; bit < 64; bit++) {
		uint64_t number = UINT64_C(1) << bit;

		give_nodes(f, number);
		tp_radix_insert(&f->radix, number, item(bit));
		assert_int_equal(nr_in_use(f), bit / TP_RADIX_BITS + 1);
		assert_ptr_equal(tp_radix_find(&f->radix, number), item(bit));
		tp_radix_remove(&f->radix, number);
		assert_int_equal(nr_in_use(f), 0);
	}
	assert_int_equal(f->nr_nodes, TP_RADIX_MAX_LEVELS); /* used again, not made anew */
}

static void nodes_of_one_path_go_and_the_others_stay(void **state)
{
	struct fixture *f = *state;

	insert(f, 4096 + 64, item(0));
	insert(f, 4096, item(1));
	insert(f, 0, item(2));
	assert_int_equal(nr_in_use(f), 6);
	tp_radix_remove(&f->radix, 4096);
	assert_int_equal(nr_in_use(f), 5);
	tp_radix_remove(&f->radix, 4096 + 64);
	assert_int_equal(nr_in_use(f), 3);
	assert_ptr_equal(tp_radix_find(&f->radix, 0), item(2));
}

static void a_node_is_not_used_again_while_a_reader_may_be_in_it(void **state)
{
	struct fixture *f = *state;
	struct tp_epoch_slot *reader;
	struct tp_radix_node *node;

	insert(f, 64, item(0));
	reader = tp_epoch_enter(&f->epochs);
	node = atomic_load(&f->radix.root);
	tp_radix_remove(&f->radix, 64);
	assert_int_equal(nr_retired(&f->radix), 2);

	/* new nodes are made, and what the reader sees in the old one is an empty node, the same as before */
	assert_int_equal(insert(f, 64 * 64, item(1)), 3);
	tp_radix_remove(&f->radix, 64 * 64);
	assert_int_equal(insert(f, 5, item(2)), 1);
	assert_int_equal(node->shift, TP_RADIX_BITS);
	for (size_t i = 0; i < TP_RADIX_FANOUT; i++)
		assert_null(atomic_load(&node->slots[i]));

	tp_epoch_leave(reader);
	assert_int_equal(insert(f, UINT64_C(1) << 30, item(3)), 5); /* 10 needed, 5 come back */
	assert_int_equal(nr_retired(&f->radix), 0);
}

static void a_reader_that_came_later_does_not_matter(void **state)
{
	struct fixture *f = *state;
	struct tp_epoch_slot *reader;

	insert(f, 64, item(0));
	tp_radix_remove(&f->radix, 64);
	reader = tp_epoch_enter(&f->epochs);
	assert_int_equal(insert(f, 64, item(0)), 0);
	tp_epoch_leave(reader);
}

static void everything_comes_out_when_it_is_taken_apart(void **state)
{
	struct fixture *f = *state;

	for (uint64_t i = 0; i < 1000; i++)
		insert(f, i * i * i, item(i));
	give_nodes(f, UINT64_MAX);
	for (uint64_t i = 0; i < 1000; i += 3)
		tp_radix_remove(&f->radix, i * i * i);
	/* nodes of all three sorts; the teardown counts them */
	assert_true(nr_in_use(f) > 0 && f->radix.nr_spare > 0 && nr_retired(&f->radix) > 0);
}

/* --- against a model: an array of candidates, and whether each is in --- */

enum { NR_CANDIDATES = 600 };

struct model {
	uint64_t numbers[NR_CANDIDATES]; /* ascending */
	bool is_in[NR_CANDIDATES];
};

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Clusters of neighbours, numbers of any magnitude, and both ends. */
static void choose_candidates(struct model *model, uint64_t *rng)
{
	uint64_t cluster = 0;

	memset(model, 0, sizeof(*model));
	for (size_t i = 0; i < NR_CANDIDATES; i++) {
		if (i % 40 == 0)
			cluster = random_next(rng) >> random_next(rng) % 64;
		model->numbers[i] =
			i % 4 ? cluster + random_next(rng) % 200 : random_next(rng) >> random_next(rng) % 64;
	}
	model->numbers[0] = 0;
	model->numbers[1] = UINT64_MAX;
	qsort(model->numbers, NR_CANDIDATES, sizeof(uint64_t), by_number);
	for (size_t i = 1; i < NR_CANDIDATES; i++) /* a number that comes twice is replaced by one that cannot */
		if (model->numbers[i] <= model->numbers[i - 1] && model->numbers[i - 1] != UINT64_MAX)
			model->numbers[i] = model->numbers[i - 1] + 1;
}

/* The nodes that a table with this root needs: the different paths at each level. */
static size_t nodes_of_model(const struct model *model, uint32_t root_shift)
{
	size_t nr = 0;

	for (uint32_t shift = 0; shift <= root_shift; shift += TP_RADIX_BITS) {
		uint64_t last = 0;
		bool has_last = false;

		for (size_t i = 0; i < NR_CANDIDATES; i++) {
			uint64_t path = shift == 60 ? 0 : model->numbers[i] >> (shift + TP_RADIX_BITS);

			if (!model->is_in[i] || (has_last && path == last))
				continue;
			last = path;
			has_last = true;
			nr++;
		}
	}
	return nr;
}

static uint32_t nr_near_in_model(const struct model *model, uint64_t number)
{
	uint32_t nr = 0;

	for (size_t i = 0; i < NR_CANDIDATES; i++)
		nr += model->is_in[i] && model->numbers[i] >> TP_RADIX_BITS == number >> TP_RADIX_BITS;
	return nr;
}

static void compare(struct fixture *f, const struct model *model)
{
	const struct tp_radix_node *root = atomic_load(&f->radix.root);

	for (size_t i = 0; i < NR_CANDIDATES; i++) {
		assert_ptr_equal(tp_radix_find(&f->radix, model->numbers[i]), model->is_in[i] ? item(i) : NULL);
		assert_int_equal(tp_radix_nr_near(&f->radix, model->numbers[i]),
				 nr_near_in_model(model, model->numbers[i]));
	}
	assert_int_equal(nr_in_use(f), root ? nodes_of_model(model, root->shift) : 0);
}

/* Tides: more insertions than removals for a while, then the other way round, until it is empty. */
static void run_against_model(struct fixture *f, struct model *model, uint64_t *rng, size_t *most)
{
	for (int step = 0; step < 6000; step++) {
		size_t i = random_next(rng) % NR_CANDIDATES;
		bool is_flood = step / 1000 % 2 == 0;

		if (model->is_in[i] && random_next(rng) % 4 >= (is_flood ? 3 : 0)) {
			tp_radix_remove(&f->radix, model->numbers[i]);
			model->is_in[i] = false;
		} else if (!model->is_in[i] && random_next(rng) % 4 >= (is_flood ? 0 : 3)) {
			insert(f, model->numbers[i], item(i));
			model->is_in[i] = true;
		}
		if (nr_in_use(f) > *most)
			*most = nr_in_use(f);
		if (step % 50 == 0)
			compare(f, model);
	}
	assert_int_equal(f->nr_nodes, *most); /* no more than were ever needed at once */
}

static void a_random_history_agrees_with_a_model(void **state)
{
	struct fixture *f = *state;
	uint64_t rng = random_begin();
	size_t most = 0;

	for (int run = 0; run < 10; run++) {
		struct model model;

		choose_candidates(&model, &rng);
		run_against_model(f, &model, &rng, &most);
		compare(f, &model);
		for (size_t i = 0; i < NR_CANDIDATES; i++)
			if (model.is_in[i])
				tp_radix_remove(&f->radix, model.numbers[i]);
		assert_int_equal(nr_in_use(f), 0);
	}
}

/* --- readers and a writer at once --- */

enum { NR_NUMBERS = 256, NR_READERS = 3 };

struct scene {
	struct fixture *f;
	uint64_t numbers[NR_NUMBERS];
	atomic_bool is_over;
	_Atomic uint64_t nr_found;
	_Atomic uint64_t nr_wrong;
	uint64_t seed;
};

static void *find_numbers(void *arg)
{
	struct scene *scene = arg;
	struct fixture *f = scene->f;
	uint64_t rng = scene->seed ^ (uintptr_t)&rng;
	uint64_t nr_found = 0;

	while (!atomic_load_explicit(&scene->is_over, memory_order_relaxed)) {
		struct tp_epoch_slot *slot = tp_epoch_enter(&f->epochs);

		for (int k = 0; k < 8; k++) {
			uint64_t i = random_next(&rng) % NR_NUMBERS;
			void *found = tp_radix_find(&f->radix, scene->numbers[i]);

			nr_found += found != NULL;
			if (found && found != item(i))
				atomic_fetch_add(&scene->nr_wrong, 1);
		}
		tp_epoch_leave(slot);
	}
	atomic_fetch_add(&scene->nr_found, nr_found);
	return NULL;
}

/* Mostly sparse numbers, so that nodes come and go all the time. */
static void choose_numbers(struct scene *scene, uint64_t *rng)
{
	for (uint64_t i = 0; i < NR_NUMBERS; i++)
		scene->numbers[i] = i % 4 ? (random_next(rng) >> random_next(rng) % 56) - i % 2 : i;
	qsort(scene->numbers, NR_NUMBERS, sizeof(uint64_t), by_number);
	for (size_t i = 1; i < NR_NUMBERS; i++)
		if (scene->numbers[i] <= scene->numbers[i - 1])
			scene->numbers[i] = scene->numbers[i - 1] + 1;
}

static uint64_t change_numbers(struct scene *scene, uint64_t *rng, double end)
{
	struct fixture *f = scene->f;
	uint64_t nr_changes = 0;
	bool is_in[NR_NUMBERS] = {false};

	for (uint64_t step = 0; step % 1000 || block_fixture_now() < end; step++) {
		uint64_t i = random_next(rng) % (step / 500 % 2 ? NR_NUMBERS : 4);

		if (is_in[i])
			tp_radix_remove(&f->radix, scene->numbers[i]);
		else
			insert(f, scene->numbers[i], item(i));
		is_in[i] = !is_in[i];
		nr_changes++;
	}
	return nr_changes;
}

static void readers_find_the_right_item_or_none_while_it_changes(void **state)
{
	double end = block_fixture_now() + block_fixture_seconds() / 4;
	struct scene scene = {.f = *state};
	uint64_t rng = random_begin();
	pthread_t readers[NR_READERS];
	uint64_t nr_changes;

	scene.seed = random_next(&rng);
	choose_numbers(&scene, &rng);
	for (size_t i = 0; i < NR_READERS; i++)
		assert_int_equal(pthread_create(&readers[i], NULL, find_numbers, &scene), 0);
	nr_changes = change_numbers(&scene, &rng, end);
	atomic_store(&scene.is_over, true);
	for (size_t i = 0; i < NR_READERS; i++)
		assert_int_equal(pthread_join(readers[i], NULL), 0);
	print_message("%" PRIu64 " changes, %" PRIu64 " found, %zu nodes\n", nr_changes, atomic_load(&scene.nr_found),
		      scene.f->nr_nodes);
	assert_int_equal(atomic_load(&scene.nr_wrong), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_empty_table_finds_nothing),
		TEST(only_what_was_inserted_is_found),
		TEST(what_was_removed_is_not_found),
		TEST(it_asks_for_exactly_the_nodes_of_the_path),
		TEST(a_lonely_number_needs_one_node_per_level),
		TEST(nodes_of_one_path_go_and_the_others_stay),
		TEST(a_node_is_not_used_again_while_a_reader_may_be_in_it),
		TEST(a_reader_that_came_later_does_not_matter),
		TEST(everything_comes_out_when_it_is_taken_apart),
		TEST(a_random_history_agrees_with_a_model),
		TEST(readers_find_the_right_item_or_none_while_it_changes),
	};

	return cmocka_run_group_tests_name("block/radix", tests, NULL, NULL);
}
