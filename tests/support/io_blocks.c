/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/io_blocks.c - blocks with a pattern, and operations on them.
 */
#include "support/io_conformance.h"

#include <thinp/error.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { WORDS = THINP_BLOCK_SIZE / sizeof(uint64_t) };

void *io_blocks_new(uint64_t nr_blocks)
{
	size_t nbytes = (size_t)nr_blocks * THINP_BLOCK_SIZE;
	void *blocks = aligned_alloc(THINP_BLOCK_SIZE, nbytes);

	assert_non_null(blocks);
	memset(blocks, 0xa5, nbytes);
	return blocks;
}

/* The word differs within a block, between blocks and between generations, so that a shifted copy shows. */
static uint64_t word_of(thinp_block_t block, uint64_t generation, size_t i)
{
	return (block + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ generation << 48 ^ i;
}

void io_blocks_fill(void *blocks, thinp_block_t first, uint64_t nr_blocks, uint64_t generation)
{
	uint64_t *words = blocks;

	for (uint64_t n = 0; n < nr_blocks; n++)
		for (size_t i = 0; i < WORDS; i++)
			*words++ = word_of(first + n, generation, i);
}

void io_blocks_expect(const void *blocks, thinp_block_t first, uint64_t nr_blocks, uint64_t generation)
{
	const uint64_t *words = blocks;

	for (uint64_t n = 0; n < nr_blocks; n++)
		for (size_t i = 0; i < WORDS; i++, words++)
			if (*words != word_of(first + n, generation, i))
				fail_msg("block %llu differs at word %zu: it is not of generation %llu",
					 (unsigned long long)(first + n), i, (unsigned long long)generation);
}

void io_blocks_expect_zeros(const void *blocks, uint64_t nr_blocks)
{
	const uint64_t *words = blocks;

	for (uint64_t i = 0; i < nr_blocks * WORDS; i++)
		if (words[i])
			fail_msg("block %llu of %llu is not all zero", (unsigned long long)(i / WORDS),
				 (unsigned long long)nr_blocks);
}

void io_write_pattern(struct thinp_io *io, thinp_block_t block, uint64_t nr_blocks, uint64_t generation)
{
	void *blocks = io_blocks_new(nr_blocks);

	io_blocks_fill(blocks, block, nr_blocks, generation);
	assert_int_equal(thinp_io_write(io, block, nr_blocks, blocks), 0);
	free(blocks);
}

void io_expect_pattern(struct thinp_io *io, thinp_block_t block, uint64_t nr_blocks, uint64_t generation)
{
	void *blocks = io_blocks_new(nr_blocks);

	assert_int_equal(thinp_io_read(io, block, nr_blocks, blocks), 0);
	io_blocks_expect(blocks, block, nr_blocks, generation);
	free(blocks);
}

struct thinp_io_op io_op(uint32_t kind, thinp_block_t block, uint64_t nr_blocks, void *buffer)
{
	/* a result that no call gives shows when it was not set */
	return (struct thinp_io_op){
		.kind = kind, .result = 12345, .block = block, .nr_blocks = nr_blocks, .buffer = buffer};
}

void io_expect_results(const struct thinp_io_op *ops, size_t nr_ops, int result)
{
	for (size_t i = 0; i < nr_ops; i++)
		assert_int_equal(ops[i].result, result);
}

void io_expect_told(int code)
{
	struct thinp_error_info info = {.size = sizeof(info)};

	thinp_error_last(&info);
	assert_int_equal(info.code, code);
	assert_true(info.message[0] != '\0');
}
