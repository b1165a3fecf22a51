/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/block/test_order.c - what is stamped can no longer be reached.
 *
 * A stamp that is taken before the unlinking is safe too early. The moment in which that shows is far too short for a
 * stress test, so here the taking of every stamp is listened to: the real functions, but for tp_epoch_stamp().
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/epoch.h"

uint64_t real_stamp(struct tp_epochs *epochs);
#define tp_epoch_stamp real_stamp
#include "base/epoch.c"
#undef tp_epoch_stamp

#include "block/manager.h"
#include "support/block_fixture.h"
#include "unit/base/random.h"

static struct tp_radix *watched;
static bool items_are_buffers;
static uint64_t nr_stamps;
static uint64_t nr_too_early;

/* Nothing reachable is on its way out: no node that has been found empty, no buffer that is not linked. */
static void visit(const struct tp_radix_node *node)
{
	nr_too_early += !node->in_use;
	for (size_t i = 0; i < TP_RADIX_FANOUT; i++) {
		const void *below = atomic_load(&node->slots[i]);

		if (below && node->shift)
			visit(below);
		else if (below && items_are_buffers)
			nr_too_early += ((const struct thinp_buffer *)below)->state != TP_BUFFER_LINKED;
	}
}

uint64_t tp_epoch_stamp(struct tp_epochs *epochs)
{
	const struct tp_radix_node *root = watched ? atomic_load(&watched->root) : NULL;

	nr_stamps++;
	if (root)
		visit(root);
	return real_stamp(epochs);
}

static int setup(void **state)
{
	watched = NULL;
	nr_stamps = 0;
	nr_too_early = 0;
	*state = NULL;
	return 0;
}

static void a_node_is_stamped_after_it_was_unlinked(void **state)
{
	static const uint64_t numbers[] = {0, 64, 65, 4096, 4097, 8192, UINT64_C(1) << 40, UINT64_MAX};
	enum { NR = sizeof(numbers) / sizeof(numbers[0]) };
	struct tp_epochs *epochs = aligned_alloc(alignof(struct tp_epochs), sizeof(*epochs));
	struct tp_radix_node *node;
	struct tp_radix radix;

	(void)state;
	assert_non_null(epochs);
	tp_epoch_init(epochs);
	tp_radix_init(&radix, epochs);
	items_are_buffers = false;
	watched = &radix;
	for (size_t i = 0; i < NR; i++) {
		while (tp_radix_nodes_missing(&radix, numbers[i]))
			tp_radix_add_spare(&radix, calloc(1, sizeof(*node)));
		tp_radix_insert(&radix, numbers[i], epochs);
	}
	for (size_t i = 0; i < NR; i++)
		tp_radix_remove(&radix, numbers[i]);
	assert_null(atomic_load(&radix.root));
	assert_true(nr_stamps > 20);
	assert_int_equal(nr_too_early, 0);
	while ((node = tp_radix_dismantle(&radix)))
		free(node);
	free(epochs);
}

static void a_buffer_is_stamped_after_it_was_unlinked(void **state)
{
	struct block_fixture *f = block_fixture_new(500, 20);
	uint64_t rng = random_begin();

	(void)state;
	items_are_buffers = true;
	watched = &f->bm->cache.table;
	for (int i = 0; i < 2000; i++)
		assert_int_equal(block_fixture_read(f, random_next(&rng) % 500), 0);
	assert_true(nr_stamps >= block_fixture_stats(f).evictions);
	assert_true(block_fixture_stats(f).evictions > 1000);
	assert_int_equal(nr_too_early, 0);
	watched = NULL;
	block_fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_node_is_stamped_after_it_was_unlinked, setup),
		cmocka_unit_test_setup(a_buffer_is_stamped_after_it_was_unlinked, setup),
	};

	return cmocka_run_group_tests_name("block/order", tests, NULL, NULL);
}
