/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a dump makes of damaged metadata of real kernels.
 *
 * THINP_TEST_SEED repeats a run; THINP_TEST_FACTOR multiplies the number of cases.
 */
#include "format/kind.h"
#include "format/node.h"
#include "integration/image_device.h"
#include "support/alloc_counting.h"

#include <thinp/dump.h>
#include <thinp/error.h>
#include <thinp/pool.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit/base/random.h"

static uint64_t rng;

/* The text of a dump, compared with that of the image as it was. */
struct text {
	char *data;
	size_t len;
	size_t room;
	const struct text *healthy; /* NULL: this is the healthy one, kept */
	bool differs;
};

static int take_text(void *ctx, const char *data, size_t nbytes)
{
	struct text *text = ctx;

	if (text->healthy) {
		if (text->len + nbytes > text->healthy->len ||
		    memcmp(text->healthy->data + text->len, data, nbytes) != 0)
			text->differs = true;
	} else {
		if (text->len + nbytes > text->room) {
			text->room = 2 * (text->len + nbytes);
			text->data = realloc(text->data, text->room);
			assert_non_null(text->data);
		}
		memcpy(text->data + text->len, data, nbytes);
	}
	text->len += nbytes;
	return 0;
}

struct subject {
	struct image_device device;
	uint32_t flags;
	struct alloc_counting alloc;
	struct text healthy;
	size_t healthy_peak;
	uint64_t healthy_reads;
	thinp_block_t *blocks; /* those that a dump reads */
	size_t nr_blocks;
};

static int dump(struct subject *subject, struct text *text)
{
	const struct thinp_pool_opts opts = {
		.size = sizeof(opts), .flags = subject->flags, .cache_blocks = 256, .allocator = &subject->alloc.table};
	const struct thinp_dump_opts dump_opts = {.size = sizeof(dump_opts), .allocator = &subject->alloc.table};
	struct thinp_pool *pool;
	int r;

	subject->device.nr_reads = 0;
	alloc_counting_init(&subject->alloc);
	r = thinp_pool_open(subject->device.io, &opts, &pool);
	if (!r) {
		r = thinp_dump(pool, &dump_opts, take_text, text);
		thinp_pool_close(pool);
	}
	alloc_counting_check(&subject->alloc);
	return r;
}

static void subject_open(struct subject *subject, const char *fixture, uint32_t flags)
{
	memset(subject, 0, sizeof(*subject));
	subject->flags = flags;
	image_device_open(&subject->device, fixture);
	assert_int_equal(dump(subject, &subject->healthy), 0);
	subject->healthy_peak = subject->alloc.peak_bytes;
	subject->healthy_reads = subject->device.nr_reads;
	subject->nr_blocks = image_device_blocks_read(&subject->device, &subject->blocks);
}

static void subject_close(struct subject *subject)
{
	free(subject->blocks);
	free(subject->healthy.data);
	image_device_close(&subject->device);
}

static const struct {
	const char *fixture;
	uint32_t flags;
	unsigned nr_flips;
	unsigned nr_changes;
} subjects[] = {
	{"kernel-datafull.meta", 0, 2000, 700},
	{"kernel-heldroot.meta", 0, 1500, 500},
	{"kernel-heldroot.meta", THINP_POOL_METADATA_SNAP, 1500, 500},
	{"kernel-fragmented.meta", 0, 400, 300},
	{"kernel-snaps.meta", 0, 100, 100},
};

#define NR_SUBJECTS (sizeof(subjects) / sizeof(subjects[0]))

static unsigned factor(void)
{
	const char *text = getenv("THINP_TEST_FACTOR");

	return text ? (unsigned)strtoul(text, NULL, 10) : 1;
}

static void flip_one_bit(struct subject *subject)
{
	thinp_block_t block = subject->blocks[random_below(&rng, subject->nr_blocks)];
	uint64_t bit = random_below(&rng, 8 * THINP_BLOCK_SIZE);
	uint8_t *byte = subject->device.data + block * THINP_BLOCK_SIZE + bit / 8;
	struct thinp_error_info info = {.size = sizeof(info)};
	struct text text = {.healthy = &subject->healthy};

	*byte ^= (uint8_t)(1u << bit % 8);
	assert_int_equal(dump(subject, &text), THINP_ECORRUPT);
	thinp_error_last(&info);
	assert_int_equal(info.code, THINP_ECORRUPT);
	assert_int_equal(info.block, block);
	assert_false(text.differs); /* what came out before is what would have come out */
	*byte ^= (uint8_t)(1u << bit % 8);
}

static void a_flipped_bit_is_found_and_the_error_names_its_block(void **state)
{
	unsigned nr_cases = 0;

	(void)state;
	for (size_t s = 0; s < NR_SUBJECTS; s++) {
		struct subject subject;

		subject_open(&subject, subjects[s].fixture, subjects[s].flags);
		for (unsigned i = 0; i < subjects[s].nr_flips * factor(); i++, nr_cases++)
			flip_one_bit(&subject);
		subject_close(&subject);
	}
	print_message("%u bits flipped\n", nr_cases);
}

/* The kinds of block that a dump reads. */
static const struct thinp_block_type *type_of(const uint8_t *block)
{
	const struct thinp_block_type *const types[] = {thinp_block_type_thin_superblock(), thinp_block_type_node()};
	uint32_t csum;

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		memcpy(&csum, block, sizeof(csum));
		if (tp_load_le32(&csum) == (tp_block_crc(block) ^ types[i]->csum_xor))
			return types[i];
	}
	return NULL;
}

/* Where the fields of a kind are: most cases go to fields with a meaning, some to anywhere. */
static size_t random_offset(const uint8_t *block, const struct thinp_block_type *type)
{
	uint32_t nr = tp_node_nr_entries(block);

	if (random_below(&rng, 8) == 0)
		return 4 + 4 * random_below(&rng, (THINP_BLOCK_SIZE - 8) / 4);
	if (type == thinp_block_type_thin_superblock())
		return 4 + 4 * random_below(&rng, 90);
	if (random_below(&rng, 2) || !nr)
		return 4 + 4 * random_below(&rng, 7);
	if (random_below(&rng, 2))
		return TP_NODE_HEADER_SIZE + 8 * random_below(&rng, nr);
	return (size_t)(tp_node_values(block) - block) + tp_node_value_size(block) * random_below(&rng, nr);
}

static uint64_t random_value(uint64_t old)
{
	switch (random_below(&rng, 8)) {
	case 0:
		return old + 1;
	case 1:
		return old - 1;
	case 2:
		return old ^ UINT64_C(1) << random_below(&rng, 64);
	case 3:
		return UINT64_MAX >> random_below(&rng, 64);
	case 4:
		return random_below(&rng, 300);
	case 5:
		return random_below(&rng, 4096) << 24;
	default:
		return random_next(&rng);
	}
}

static void change_one_field(struct subject *subject, unsigned *nr_taken)
{
	thinp_block_t number = subject->blocks[random_below(&rng, random_below(&rng, 4) ? subject->nr_blocks : 4)];
	uint8_t *block = subject->device.data + number * THINP_BLOCK_SIZE;
	const struct thinp_block_type *type = type_of(block);
	struct text text = {.healthy = &subject->healthy};
	uint8_t saved[THINP_BLOCK_SIZE];
	size_t offset;
	int r;

	assert_non_null(type);
	memcpy(saved, block, sizeof(saved));
	offset = random_offset(block, type);
	if (random_below(&rng, 2))
		tp_store_le32(block + offset, (uint32_t)random_value(tp_load_le32(block + offset)));
	else
		tp_store_le64(block + offset, random_value(tp_load_le64(block + offset)));
	tp_store_le32(block,
		      tp_block_crc(block) ^ type->csum_xor); /* not tp_block_seal: the own address stays as it is */

	r = dump(subject, &text);
	if (!r)
		(*nr_taken)++;
	else
		assert_true(r == THINP_ECORRUPT || r == THINP_ENOTSUP || r == THINP_ENOENT);
	assert_true(subject->alloc.peak_bytes <= 2 * subject->healthy_peak);
	assert_true(subject->device.nr_reads <= 4 * (subject->healthy_reads + subject->nr_blocks));
	memcpy(block, saved, sizeof(saved));
}

static void a_changed_field_is_refused_or_believed_in_bounded_time_and_memory(void **state)
{
	unsigned nr_taken = 0;
	unsigned nr_cases = 0;

	(void)state;
	for (size_t s = 0; s < NR_SUBJECTS; s++) {
		struct subject subject;

		subject_open(&subject, subjects[s].fixture, subjects[s].flags);
		for (unsigned i = 0; i < subjects[s].nr_changes * factor(); i++, nr_cases++)
			change_one_field(&subject, &nr_taken);
		subject_close(&subject);
	}
	print_message("%u fields changed, %u of them believed\n", nr_cases, nr_taken);
	assert_true(nr_taken > 0 && nr_taken < nr_cases);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_flipped_bit_is_found_and_the_error_names_its_block),
		cmocka_unit_test(a_changed_field_is_refused_or_believed_in_bounded_time_and_memory),
	};

	rng = random_begin();
	return cmocka_run_group_tests_name("integration/damage", tests, NULL, NULL);
}
