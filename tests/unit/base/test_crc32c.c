/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "unit/base/random.h"

/* One way to compute it; has is NULL where it is always there. */
struct way {
	const char *name;
	bool (*has)(void);
	uint32_t (*crc)(uint32_t reg, const void *data, size_t nbytes);
};

static const struct way way_best = {"best", NULL, tp_crc32c};
static const struct way way_table = {"table", NULL, tp_crc32c_table};
static const struct way way_hw = {"hw", tp_crc32c_has_hw, tp_crc32c_hw};
static const struct way way_isal = {"isal", tp_crc32c_has_isal, tp_crc32c_isal};

static const struct way *take_way(void **state)
{
	const struct way *way = *state;

	if (way->has && !way->has()) {
		print_message("skipped: this build or machine cannot do %s\n", way->name);
		skip();
	}
	return way;
}

/* The usual CRC-32C: register inverted before and after. */
static uint32_t usual(const struct way *way, const void *data, size_t nbytes)
{
	return ~way->crc(UINT32_MAX, data, nbytes);
}

/* RFC 3720, B.4: a SCSI read (10) command PDU. */
static const uint8_t read_pdu[48] = {
	0x01, 0xc0, 0, 0,    0, 0, 0, 0,    0,    0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 4, 0,
	0,    0,    0, 0x14, 0, 0, 0, 0x18, 0x28, 0, 0, 0, 0, 0, 0, 0, 2,    0, 0, 0, 0, 0, 0, 0,
};

static void it_gives_the_vectors_of_rfc_3720(void **state)
{
	const struct way *way = take_way(state);
	uint8_t zeros[32] = {0}, ones[32], rising[32], falling[32];

	memset(ones, 0xff, sizeof(ones));
	for (size_t i = 0; i < 32; i++) {
		rising[i] = (uint8_t)i;
		falling[i] = (uint8_t)(31 - i);
	}
	assert_int_equal(usual(way, zeros, 32), 0x8a9136aa);
	assert_int_equal(usual(way, ones, 32), 0x62a8ab43);
	assert_int_equal(usual(way, rising, 32), 0x46dd794e);
	assert_int_equal(usual(way, falling, 32), 0x113fdb5c);
	assert_int_equal(usual(way, read_pdu, sizeof(read_pdu)), 0xd9963a56);
}

static void it_gives_the_check_value_with_and_without_the_last_inversion(void **state)
{
	const struct way *way = take_way(state);

	assert_int_equal(usual(way, "123456789", 9), 0xe3069283);
	assert_int_equal(way->crc(UINT32_MAX, "123456789", 9), 0x1cf96d7c);
}

static void no_bytes_leave_the_register_as_it_is(void **state)
{
	const struct way *way = take_way(state);

	assert_int_equal(way->crc(UINT32_MAX, "", 0), UINT32_MAX);
	assert_int_equal(way->crc(0x12345678, "", 0), 0x12345678);
}

/* The definition, bit by bit. */
static uint32_t model(uint32_t reg, const uint8_t *data, size_t nbytes)
{
	for (; nbytes; nbytes--) {
		reg ^= *data++;
		for (int bit = 0; bit < 8; bit++)
			reg = reg >> 1 ^ (reg & 1 ? 0x82f63b78 : 0);
	}
	return reg;
}

static void it_agrees_with_the_definition_for_every_short_length_and_alignment(void **state)
{
	const struct way *way = take_way(state);
	_Alignas(64) uint8_t bytes[256 + 16];
	uint64_t rng = random_begin();

	random_fill(&rng, bytes, sizeof(bytes));
	for (size_t offset = 0; offset < 16; offset++)
		for (size_t nbytes = 0; nbytes <= 256; nbytes++)
			assert_int_equal(way->crc(UINT32_MAX, bytes + offset, nbytes),
					 model(UINT32_MAX, bytes + offset, nbytes));
}

static void it_agrees_with_the_definition_for_random_lengths_alignments_and_registers(void **state)
{
	const struct way *way = take_way(state);
	static _Alignas(64) uint8_t bytes[16384];
	uint64_t rng = random_begin();

	random_fill(&rng, bytes, sizeof(bytes));
	for (int i = 0; i < 300; i++) {
		size_t offset = random_next(&rng) % 64;
		size_t nbytes = random_next(&rng) % (sizeof(bytes) - offset + 1);
		uint32_t reg = (uint32_t)random_next(&rng);

		assert_int_equal(way->crc(reg, bytes + offset, nbytes), model(reg, bytes + offset, nbytes));
	}
}

static void a_range_in_two_pieces_gives_the_same_as_in_one(void **state)
{
	const struct way *way = take_way(state);
	uint8_t bytes[4092];
	uint64_t rng = random_begin();

	random_fill(&rng, bytes, sizeof(bytes));
	for (size_t cut = 0; cut <= sizeof(bytes); cut += 31)
		assert_int_equal(way->crc(way->crc(UINT32_MAX, bytes, cut), bytes + cut, sizeof(bytes) - cut),
				 way->crc(UINT32_MAX, bytes, sizeof(bytes)));
}

#define TEST_OF(sentence, way)                                                                                         \
	{                                                                                                              \
#way ": " #sentence, sentence, NULL, NULL, (void *)(uintptr_t) & (way)                                 \
	}
#define TESTS_OF(way)                                                                                                  \
	TEST_OF(it_gives_the_vectors_of_rfc_3720, way),                                                                \
		TEST_OF(it_gives_the_check_value_with_and_without_the_last_inversion, way),                            \
		TEST_OF(no_bytes_leave_the_register_as_it_is, way),                                                    \
		TEST_OF(it_agrees_with_the_definition_for_every_short_length_and_alignment, way),                      \
		TEST_OF(it_agrees_with_the_definition_for_random_lengths_alignments_and_registers, way),               \
		TEST_OF(a_range_in_two_pieces_gives_the_same_as_in_one, way)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TESTS_OF(way_best),
		TESTS_OF(way_table),
		TESTS_OF(way_hw),
		TESTS_OF(way_isal),
	};

	return cmocka_run_group_tests_name("base/crc32c", tests, NULL, NULL);
}
