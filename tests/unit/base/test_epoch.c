/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/base/test_epoch.c - who holds what back, and that nobody is overlooked.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/epoch.h"
#include "unit/base/random.h"

static int setup(void **state)
{
	struct tp_epochs *epochs = aligned_alloc(alignof(struct tp_epochs), sizeof(*epochs));

	assert_non_null(epochs);
	tp_epoch_init(epochs);
	*state = epochs;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static bool is_safe(struct tp_epochs *epochs, uint64_t stamp)
{
	return stamp < tp_epoch_safe(epochs);
}

static void without_readers_everything_can_be_used_again(void **state)
{
	struct tp_epochs *epochs = *state;

	for (int i = 0; i < 10; i++)
		assert_true(is_safe(epochs, tp_epoch_stamp(epochs)));
}

static void stamps_ascend(void **state)
{
	struct tp_epochs *epochs = *state;
	uint64_t last = tp_epoch_stamp(epochs);

	for (int i = 0; i < 10; i++) {
		uint64_t stamp = tp_epoch_stamp(epochs);

		assert_true(stamp > last);
		last = stamp;
	}
}

static void what_is_to_be_unlinked_is_never_safe_before_it_is(void **state)
{
	struct tp_epochs *epochs = *state;
	uint64_t safe = tp_epoch_safe(epochs);

	assert_false(tp_epoch_stamp(epochs) < safe);
}

static void a_reader_holds_back_what_was_unlinked_after_it_came(void **state)
{
	struct tp_epochs *epochs = *state;
	struct tp_epoch_slot *slot = tp_epoch_enter(epochs);
	uint64_t first = tp_epoch_stamp(epochs);
	uint64_t second = tp_epoch_stamp(epochs);

	assert_false(is_safe(epochs, first));
	assert_false(is_safe(epochs, second));
	tp_epoch_leave(slot);
	assert_true(is_safe(epochs, first));
	assert_true(is_safe(epochs, second));
}

static void a_reader_does_not_hold_back_what_was_unlinked_before_it_came(void **state)
{
	struct tp_epochs *epochs = *state;
	uint64_t before = tp_epoch_stamp(epochs);
	struct tp_epoch_slot *slot = tp_epoch_enter(epochs);
	uint64_t after = tp_epoch_stamp(epochs);

	assert_true(is_safe(epochs, before));
	assert_false(is_safe(epochs, after));
	tp_epoch_leave(slot);
}

static void of_several_readers_the_oldest_counts(void **state)
{
	struct tp_epochs *epochs = *state;
	struct tp_epoch_slot *slots[3];
	uint64_t stamps[3];

	for (size_t i = 0; i < 3; i++) {
		slots[i] = tp_epoch_enter(epochs);
		stamps[i] = tp_epoch_stamp(epochs);
	}
	tp_epoch_leave(slots[1]);
	assert_false(is_safe(epochs, stamps[0]));
	tp_epoch_leave(slots[0]);
	assert_true(is_safe(epochs, stamps[1]));
	assert_false(is_safe(epochs, stamps[2]));
	tp_epoch_leave(slots[2]);
	assert_true(is_safe(epochs, stamps[2]));
}

static void readers_that_come_and_go_do_not_hold_back_for_ever(void **state)
{
	struct tp_epochs *epochs = *state;
	struct tp_epoch_slot *here = tp_epoch_enter(epochs);
	uint64_t stamp = tp_epoch_stamp(epochs);
	struct tp_epoch_slot *next = tp_epoch_enter(epochs); /* somebody is there at every moment */

	tp_epoch_leave(here);
	assert_true(is_safe(epochs, stamp));
	tp_epoch_leave(next);
}

static void every_visit_has_a_slot_and_cache_line_of_its_own(void **state)
{
	struct tp_epochs *epochs = *state;
	struct tp_epoch_slot *slots[TP_EPOCH_NR_SLOTS];

	for (size_t i = 0; i < TP_EPOCH_NR_SLOTS; i++) {
		slots[i] = tp_epoch_enter(epochs);
		assert_non_null(slots[i]);
		assert_int_equal((uintptr_t)slots[i] % 64, 0);
		for (size_t k = 0; k < i; k++)
			assert_ptr_not_equal(slots[i], slots[k]);
	}
	for (size_t i = 0; i < TP_EPOCH_NR_SLOTS; i++)
		tp_epoch_leave(slots[i]);
}

static void one_visit_too_many_is_told_so_until_another_ends(void **state)
{
	struct tp_epochs *epochs = *state;
	struct tp_epoch_slot *slots[TP_EPOCH_NR_SLOTS];
	uint64_t stamp;

	for (size_t i = 0; i < TP_EPOCH_NR_SLOTS; i++)
		slots[i] = tp_epoch_enter(epochs);
	stamp = tp_epoch_stamp(epochs);
	assert_null(tp_epoch_enter(epochs));
	assert_false(is_safe(epochs, stamp));

	tp_epoch_leave(slots[17]);
	assert_ptr_equal(tp_epoch_enter(epochs), slots[17]);
	for (size_t i = 0; i < TP_EPOCH_NR_SLOTS; i++)
		tp_epoch_leave(slots[i]);
	assert_true(is_safe(epochs, stamp));
}

static void a_thread_comes_back_to_its_place(void **state)
{
	struct tp_epochs *epochs = *state;
	struct tp_epoch_slot *first = tp_epoch_enter(epochs);

	for (int i = 0; i < 10; i++) {
		tp_epoch_leave(first);
		assert_ptr_equal(tp_epoch_enter(epochs), first);
	}
	tp_epoch_leave(first);
}

static void a_thread_whose_place_was_taken_settles_elsewhere(void **state)
{
	struct tp_epochs *epochs = *state;
	struct tp_epoch_slot *other = tp_epoch_enter(epochs); /* as if another thread had the same favourite */
	struct tp_epoch_slot *mine = tp_epoch_enter(epochs);

	tp_epoch_leave(other);
	tp_epoch_leave(mine);
	assert_ptr_equal(tp_epoch_enter(epochs), mine);
	tp_epoch_leave(mine);
}

/* --- readers and a writer at once ---
 *
 * Cells hold pointers to objects. The writer puts a fresh object into a cell, retires the old one, and poisons what is
 * safe before it uses it again. A reader that meets poison, or an object of another cell, was overlooked.
 */

enum { NR_CELLS = 8, NR_OBJECTS = 64, NR_READERS = 3 };

struct object {
	volatile uint64_t cell; /* not atomic: the sanitizer watches it */
	volatile uint64_t again;
	uint64_t stamp;
	struct object *next;
};

struct scene {
	struct tp_epochs *epochs;
	_Atomic(struct object *) cells[NR_CELLS];
	struct object objects[NR_OBJECTS];
	struct object *free;
	struct object *retired_first;
	struct object *retired_last;
	atomic_bool is_over;
	_Atomic uint64_t nr_wrong;
	_Atomic uint64_t nr_looks;
	uint64_t seed;
};

static void look(struct scene *scene, uint64_t cell)
{
	struct tp_epoch_slot *slot = tp_epoch_enter(scene->epochs);
	const struct object *object = atomic_load(&scene->cells[cell]);

	for (int i = 0; i < 16; i++)
		if (object->cell != cell || object->again != cell)
			atomic_fetch_add(&scene->nr_wrong, 1);
	tp_epoch_leave(slot);
}

static void *read_cells(void *arg)
{
	struct scene *scene = arg;
	uint64_t rng = scene->seed ^ (uintptr_t)&rng;

	while (!atomic_load_explicit(&scene->is_over, memory_order_relaxed)) {
		look(scene, random_next(&rng) % NR_CELLS);
		atomic_fetch_add_explicit(&scene->nr_looks, 1, memory_order_relaxed);
	}
	return NULL;
}

static void retire(struct scene *scene, struct object *object)
{
	object->stamp = tp_epoch_stamp(scene->epochs);
	object->next = NULL;
	if (scene->retired_first)
		scene->retired_last->next = object;
	else
		scene->retired_first = object;
	scene->retired_last = object;
}

static void take_back(struct scene *scene)
{
	uint64_t safe = tp_epoch_safe(scene->epochs);

	while (scene->retired_first && scene->retired_first->stamp < safe) {
		struct object *object = scene->retired_first;

		scene->retired_first = object->next;
		object->cell = UINT64_MAX; /* poison */
		object->again = UINT64_MAX;
		object->next = scene->free;
		scene->free = object;
	}
}

/* Returns whether there was a free object to do it with. */
static bool change(struct scene *scene, uint64_t cell)
{
	struct object *object;

	object = scene->free;
	if (!object) {
		take_back(scene);
		return false;
	}
	scene->free = object->next;
	object->cell = cell;
	object->again = cell;
	object = atomic_exchange(&scene->cells[cell], object);
	if (object)
		retire(scene, object);
	take_back(scene); /* at once, to leave as little time as can be between unlinking and using again */
	return true;
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void no_reader_meets_memory_that_is_used_again(void **state)
{
	const char *given = getenv("THINP_TEST_SECONDS");
	double end = seconds() + (given ? strtod(given, NULL) : 0.5);
	struct scene *scene = calloc(1, sizeof(*scene));
	uint64_t rng = random_begin();
	pthread_t readers[NR_READERS];
	uint64_t nr_changes = 0;

	assert_non_null(scene);
	scene->epochs = *state;
	scene->seed = random_next(&rng);
	for (size_t i = 0; i < NR_OBJECTS; i++) {
		scene->objects[i].next = scene->free;
		scene->free = &scene->objects[i];
	}
	for (uint64_t cell = 0; cell < NR_CELLS; cell++)
		assert_true(change(scene, cell));
	for (size_t i = 0; i < NR_READERS; i++)
		assert_int_equal(pthread_create(&readers[i], NULL, read_cells, scene), 0);

	while (seconds() < end || nr_changes < 1000)
		for (int i = 0; i < 100; i++)
			nr_changes += change(scene, random_next(&rng) % NR_CELLS);

	atomic_store(&scene->is_over, true);
	for (size_t i = 0; i < NR_READERS; i++)
		assert_int_equal(pthread_join(readers[i], NULL), 0);
	print_message("%" PRIu64 " changes, %" PRIu64 " looks\n", nr_changes, atomic_load(&scene->nr_looks));
	assert_int_equal(atomic_load(&scene->nr_wrong), 0);
	free(scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(without_readers_everything_can_be_used_again, setup, teardown),
		cmocka_unit_test_setup_teardown(stamps_ascend, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_to_be_unlinked_is_never_safe_before_it_is, setup, teardown),
		cmocka_unit_test_setup_teardown(a_reader_holds_back_what_was_unlinked_after_it_came, setup, teardown),
		cmocka_unit_test_setup_teardown(a_reader_does_not_hold_back_what_was_unlinked_before_it_came, setup,
						teardown),
		cmocka_unit_test_setup_teardown(of_several_readers_the_oldest_counts, setup, teardown),
		cmocka_unit_test_setup_teardown(readers_that_come_and_go_do_not_hold_back_for_ever, setup, teardown),
		cmocka_unit_test_setup_teardown(every_visit_has_a_slot_and_cache_line_of_its_own, setup, teardown),
		cmocka_unit_test_setup_teardown(one_visit_too_many_is_told_so_until_another_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(a_thread_comes_back_to_its_place, setup, teardown),
		cmocka_unit_test_setup_teardown(a_thread_whose_place_was_taken_settles_elsewhere, setup, teardown),
		cmocka_unit_test_setup_teardown(no_reader_meets_memory_that_is_used_again, setup, teardown),
	};

	return cmocka_run_group_tests_name("base/epoch", tests, NULL, NULL);
}
