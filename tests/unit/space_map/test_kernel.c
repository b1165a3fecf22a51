/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Maps that Linux kernels wrote are changed, and stay maps as a kernel would write them. SM-10.
 */
#include "support/image_expect.h"
#include "support/space_map_fixture.h"

#include <stdio.h>

#include "unit/base/random.h"

#define ROOM 200000u

static void change_at_random(struct sm_fixture *f, uint64_t *rng)
{
	for (int i = 0; i < 200; i++) {
		uint64_t b = random_next(rng) % f->data.nr;

		switch (random_next(rng) % 3) {
		case 0:
			(void)!sm_inc(&f->data, b, 1);
			break;
		case 1:
			(void)!sm_take(f, random_next(rng) % 4 ? &f->data : &f->meta, 1, &b);
			break;
		default:
			if (f->data.counts[b])
				(void)!sm_dec(&f->data, b, 1);
		}
	}
}

static void SM_10_maps_of_a_kernel_can_be_changed(void **state)
{
	static const char *const names[] = {"empty", "fragmented", "heldroot", "snaps", "datafull"};
	uint64_t seed = random_begin();

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char path[4096];
		struct sm_fixture *f;

		snprintf(path, sizeof(path), "%s/kernel-%s.meta", THINP_FIXTURES, names[i]);
		f = sm_fixture_open_image(path, ROOM);
		print_message("%s: %llu of %llu metadata blocks, %llu of %llu data blocks are free\n", names[i],
			      (unsigned long long)sm_info(&f->meta).nr_zero, (unsigned long long)f->meta.nr,
			      (unsigned long long)sm_info(&f->data).nr_zero, (unsigned long long)f->data.nr);
		for (int round = 0; round < 20; round++) {
			change_at_random(f, &seed);
			if (round % 5 == 4)
				sm_abort(f);
			else
				assert_int_equal(sm_commit(f), 0);
		}
		sm_fixture_free(f);
	}
}

/* A pool that a kernel has nearly filled, filled to the last block that a commit does not need. SMM-04 */
static void SMM_04_a_full_map_of_a_kernel_can_grow(void **state)
{
	struct sm_fixture *f = sm_fixture_open_image(THINP_FIXTURES "/kernel-metafull.meta", ROOM);
	struct thinp_alloc table = {.size = sizeof(table)};
	uint64_t nr = f->meta.nr, block;

	(void)state;
	thinp_sm_get_alloc(f->meta.sm, &table);
	while (!table.take(table.ctx, THINP_CAUSE_NEW, &block))
		f->meta.counts[block]++;
	assert_int_equal(sm_commit(f), 0);
	assert_int_equal(sm_info(&f->meta).nr_available, 0);
	assert_int_equal(thinp_sm_take(f->meta.sm, 1, &block, NULL), THINP_ENOSPC);
	assert_int_equal(sm_extend(f, &f->meta, nr + 2000), 0);
	assert_int_equal(sm_take(f, &f->meta, 1, &block), 0);
	assert_true(block >= nr);
	assert_int_equal(sm_commit(f), 0);
	sm_fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(SM_10_maps_of_a_kernel_can_be_changed),
		cmocka_unit_test(SMM_04_a_full_map_of_a_kernel_can_grow),
	};

	return cmocka_run_group_tests_name("space_map/kernel", tests, NULL, NULL);
}
