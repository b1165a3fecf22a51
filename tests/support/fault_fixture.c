/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/fault_fixture.c - a device that misbehaves, over one in memory.
 */
#include "support/fault_fixture.h"

#include "support/io_conformance.h"

#include <thinp/error.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct fault_fixture *make(uint32_t flags)
{
	struct fault_fixture *f = calloc(1, sizeof(*f));
	struct thinp_io_opts lower_opts = {.size = sizeof(lower_opts), .nr_blocks = FAULT_NR_BLOCKS};
	struct thinp_fault_opts opts = {.size = sizeof(opts), .flags = flags, .cache_blocks = FAULT_CACHE_BLOCKS};

	assert_non_null(f);
	alloc_counting_init(&f->alloc);
	lower_opts.allocator = &f->alloc.table;
	opts.allocator = &f->alloc.table;
	assert_int_equal(thinp_io_open_memory(&lower_opts, &f->lower), 0);
	assert_int_equal(fault_write(f->lower, 0, FAULT_NR_BLOCKS, 1), 0);
	assert_int_equal(thinp_fault_create(f->lower, &opts, &f->fault), 0);
	fault_reopen(f);
	return f;
}

int fault_setup(void **state)
{
	*state = make(0);
	return 0;
}

int fault_setup_volatile(void **state)
{
	*state = make(THINP_FAULT_VOLATILE_CACHE);
	return 0;
}

int fault_teardown(void **state)
{
	struct fault_fixture *f = *state;

	thinp_io_close(f->io);
	thinp_fault_destroy(f->fault);
	thinp_io_close(f->lower);
	alloc_counting_check(&f->alloc);
	free(f);
	return 0;
}

void fault_reopen(struct fault_fixture *f)
{
	struct thinp_io_opts opts = {.size = sizeof(opts), .allocator = &f->alloc.table};

	thinp_io_close(f->io);
	f->io = NULL;
	assert_int_equal(thinp_fault_open(f->fault, &opts, &f->io), 0);
}

uint64_t fault_rule(struct fault_fixture *f, struct thinp_fault_rule rule)
{
	uint64_t id = 0;

	rule.size = sizeof(rule);
	assert_int_equal(thinp_fault_add(f->fault, &rule, &id), 0);
	return id;
}

int fault_arm(struct thinp_fault *fault, uint32_t kind)
{
	assert_int_equal(thinp_fault_fail_nth(fault, kind, 1, 0, NULL), 0);
	return THINP_EIO;
}

void fault_expect_counts(struct fault_fixture *f, uint64_t id, uint64_t matched, uint64_t fired)
{
	uint64_t now_matched = UINT64_MAX, now_fired = UINT64_MAX;

	assert_int_equal(thinp_fault_get_counts(f->fault, id, &now_matched, &now_fired), 0);
	assert_int_equal(now_matched, matched);
	assert_int_equal(now_fired, fired);
}

int fault_write(struct thinp_io *io, thinp_block_t block, uint64_t nr_blocks, uint64_t generation)
{
	void *blocks = io_blocks_new(nr_blocks);
	int r;

	io_blocks_fill(blocks, block, nr_blocks, generation);
	r = thinp_io_write(io, block, nr_blocks, blocks);
	free(blocks);
	return r;
}

void fault_expect(struct thinp_io *io, thinp_block_t block, uint64_t nr_blocks, uint64_t generation)
{
	void *blocks = io_blocks_new(nr_blocks);

	assert_int_equal(thinp_io_read(io, block, nr_blocks, blocks), 0);
	io_blocks_expect(blocks, block, nr_blocks, generation);
	free(blocks);
}

void fault_expect_torn(struct thinp_io *io, thinp_block_t block, uint32_t sectors, uint64_t generation, uint64_t other)
{
	uint8_t *wanted[2] = {io_blocks_new(1), io_blocks_new(1)};
	uint8_t *found = io_blocks_new(1);

	io_blocks_fill(wanted[0], block, 1, other);
	io_blocks_fill(wanted[1], block, 1, generation);
	assert_int_equal(thinp_io_read(io, block, 1, found), 0);
	for (unsigned int i = 0; i < 8; i++)
		assert_memory_equal(found + i * 512u, wanted[sectors >> i & 1] + i * 512u, 512);
	free(found);
	free(wanted[1]);
	free(wanted[0]);
}
