/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening a pool: what is refused, what is taken with a word to the log, and what the superblock says then.
 */
#include "support/image_expect.h"
#include "support/image_pool.h"

#include <errno.h>
#include <stdio.h>

#define NR_OF(array) (sizeof(array) / sizeof((array)[0]))

static const struct tree_shape full = {.per_leaf = 0};
static const struct thinp_run runs[] = {{.virtual_begin = 5, .data_begin = 10, .length = 20, .time = 3}};
static const struct image_thin devices[] = {
	{.dev_id = 1, .details = {20, 2, 1, 3}, .runs = runs, .nr_runs = 1},
	{.dev_id = 4, .details = {0, 5, 2, 2}},
};

/* Counts log records and keeps the last one. */
struct log {
	size_t nr;
	struct thinp_log_record last;
	char text[200];
};

static void note(void *ctx, const struct thinp_log_record *rec)
{
	struct log *log = ctx;

	log->nr++;
	log->last = *rec;
	snprintf(log->text, sizeof(log->text), "%s", rec->text);
}

static int open_with(struct image *image, uint32_t flags, struct log *log, struct thinp_pool **pool)
{
	const struct thinp_pool_opts opts = {.size = sizeof(opts), .flags = flags, .log = note, .log_ctx = log};

	*log = (struct log){.nr = 0};
	*pool = NULL;
	return thinp_pool_open(image->io, &opts, pool);
}

/* Nothing is opened, and nothing is said to the log. */
static void expect_refused(struct image *image, int code, uint64_t block, const char *words)
{
	struct thinp_pool *pool;
	struct log log;

	expect_failure(open_with(image, 0, &log, &pool), code, block, words);
	assert_null(pool);
	assert_int_equal(log.nr, 0);
}

/* --- no superblock at all -------------------------------------------------------------------------------------------- */

static void a_device_of_zeros_is_unformatted(void **state)
{
	struct image image;

	(void)state;
	image_open(&image, 10);
	expect_refused(&image, THINP_EUNFORMATTED, 0, "all zero");
	image_close(&image);
}

static void one_bit_that_is_set_makes_it_damage(void **state)
{
	static const size_t bits[] = {0, 7, 8 * 400, 8 * 4096 - 1};
	struct image image;

	(void)state;
	for (size_t i = 0; i < NR_OF(bits); i++) {
		image_open(&image, 10);
		image_flip(&image, 0, bits[i]);
		expect_refused(&image, THINP_ECORRUPT, 0, "checksum");
		image_close(&image);
	}
}

static void TOOL_20_a_device_of_no_blocks_is_too_small(void **state)
{
	struct image image;

	(void)state;
	image_open(&image, 0);
	expect_refused(&image, THINP_ECORRUPT, 0, "too small");
	image_close(&image);
}

static void TOOL_20_xml_given_as_metadata_is_named(void **state)
{
	static const char *const beginnings[] = {"<superblock uuid=\"\" time=\"0\"", "<?xml version=\"1.0\"?>"};
	struct image image;

	(void)state;
	for (size_t i = 0; i < NR_OF(beginnings); i++) {
		struct image_block content = {{0}};

		memset(content.data, ' ', sizeof(content.data));
		memcpy(content.data, beginnings[i], strlen(beginnings[i]));
		image_open(&image, 10);
		image_write(&image, 0, &content);
		expect_refused(&image, THINP_ECORRUPT, 0, "XML");
		image_close(&image);
	}
}

/* --- another superblock ---------------------------------------------------------------------------------------------- */

struct other_kind {
	uint32_t csum_xor;
	const char *words;
};

static void superblocks_of_other_targets_are_named(void **state)
{
	static const struct other_kind kinds[] = {
		{9031977, "holds a valid cache superblock, expected a thin superblock"},
		{146538381, "holds a valid era superblock, expected a thin superblock"},
		{121107, "holds a valid btree node, expected a thin superblock"},
	};

	(void)state;
	for (size_t i = 0; i < NR_OF(kinds); i++) {
		const struct thinp_block_type type = {
			.size = sizeof(type), .name = "other", .csum_xor = kinds[i].csum_xor, .address_offset = 8};
		struct image_pool pool;
		struct image_block content;

		image_pool_open(&pool, &full, devices, NR_OF(devices));
		image_read(&pool.image, 0, &content);
		image_put(&pool.image, 0, &content, &type);
		expect_refused(&pool.image, THINP_ECORRUPT, 0, kinds[i].words);
		image_pool_close(&pool);
	}
}

/* --- fields of the superblock ---------------------------------------------------------------------------------------- */

enum {
	FLAGS = 4,
	ADDRESS = 8,
	UUID = 16,
	MAGIC = 32,
	VERSION = 40,
	TIME = 44,
	HELD_ROOT = 56,
	DATA_NR_BLOCKS = 64,
	DATA_INDEX = 80,
	DATA_OVERFLOW = 88,
	DATA_MAP_TAIL = 96,
	METADATA_NR_BLOCKS = 192,
	METADATA_INDEX = 208,
	METADATA_OVERFLOW = 216,
	METADATA_MAP_TAIL = 224,
	MAPPING_ROOT = 320,
	DETAILS_ROOT = 328,
	DATA_BLOCK_SIZE = 336,
	METADATA_BLOCK_SIZE = 340,
	FORMATTED_BLOCKS = 344,
	COMPAT = 352,
	COMPAT_RO = 356,
	INCOMPAT = 360,
	END = 364
};

/* One field of a good superblock is changed, and the checksum made right again. */
struct field {
	size_t offset;
	size_t nr_bytes;
	uint64_t value;
	int code;
	const char *words;
};

static void set_field(struct image_pool *pool, const struct field *field)
{
	if (field->nr_bytes == 4)
		image_set32(&pool->image, 0, field->offset, (uint32_t)field->value);
	else
		image_set64(&pool->image, 0, field->offset, field->value);
}

static void fields_that_make_no_sense_are_refused(void **state)
{
	static const struct field bad[] = {
		{MAGIC, 8, 1623043, THINP_ECORRUPT, "magic number is 1623043"},
		{MAGIC, 8, 27022010 | UINT64_C(1) << 32, THINP_ECORRUPT, "magic number"},
		{METADATA_BLOCK_SIZE, 4, 0, THINP_ECORRUPT, "metadata blocks of 0 sectors"},
		{METADATA_BLOCK_SIZE, 4, 16, THINP_ECORRUPT, "metadata blocks of 16 sectors"},
		{TIME, 4, 1 << 24, THINP_ECORRUPT, "time is 16777216"},
		{TIME, 4, UINT32_MAX, THINP_ECORRUPT, "time is 4294967295"},
		{INCOMPAT, 4, 1, THINP_ENOTSUP, "0x1"},
		{INCOMPAT, 4, UINT32_MAX, THINP_ENOTSUP, "0xffffffff"},
		{METADATA_NR_BLOCKS, 8, 4161601, THINP_ECORRUPT, "4161601 blocks, but 4161600 are the most"},
		{METADATA_NR_BLOCKS, 8, UINT64_MAX, THINP_ECORRUPT, "are the most"},
		{METADATA_NR_BLOCKS, 8, 0, THINP_ECORRUPT, "of 0"},
		{DATA_NR_BLOCKS, 8, (UINT64_C(1) << 40) + 1, THINP_ECORRUPT, "data space map: 1099511627777 blocks"},
		{DATA_NR_BLOCKS, 8, UINT64_C(1) << 41, THINP_ECORRUPT, "data space map: 2199023255552 blocks"},
		{DATA_NR_BLOCKS, 8, UINT64_MAX, THINP_ECORRUPT, "are the most"},
	};

	(void)state;
	for (size_t i = 0; i < NR_OF(bad); i++) {
		struct image_pool pool;

		image_pool_open(&pool, &full, devices, NR_OF(devices));
		set_field(&pool, &bad[i]);
		expect_refused(&pool.image, bad[i].code, 0, bad[i].words);
		image_pool_close(&pool);
	}
}

/* Nothing is allocated by a size that has only been read. */
static void no_number_of_blocks_makes_it_take_much_memory(void **state)
{
	static const struct field sizes[] = {
		{DATA_NR_BLOCKS, 8, UINT64_C(1) << 40, 0, ""},
		{DATA_NR_BLOCKS, 8, UINT64_C(1) << 41, THINP_ECORRUPT, ""},
		{METADATA_NR_BLOCKS, 8, 4161600, 0, ""},
		{METADATA_NR_BLOCKS, 8, UINT64_MAX, THINP_ECORRUPT, ""},
	};

	(void)state;
	for (size_t i = 0; i < NR_OF(sizes); i++) {
		struct alloc_counting alloc;
		const struct thinp_pool_opts opts = {
			.size = sizeof(opts), .cache_blocks = 10, .allocator = &alloc.table};
		struct thinp_pool *pool = NULL;
		struct image_pool image;

		alloc_counting_init(&alloc);
		image_pool_open(&image, &full, devices, NR_OF(devices));
		set_field(&image, &sizes[i]);
		assert_int_equal(thinp_pool_open(image.image.io, &opts, &pool), sizes[i].code);
		assert_true(alloc.peak_bytes < 32768);
		thinp_pool_close(pool);
		alloc_counting_check(&alloc);
		image_pool_close(&image);
	}
}

static void a_superblock_with_the_address_of_another_block_is_refused(void **state)
{
	struct image_pool pool;

	(void)state;
	image_pool_open(&pool, &full, devices, NR_OF(devices));
	image_set64(&pool.image, 0, ADDRESS, 5);
	expect_refused(&pool.image, THINP_ECORRUPT, 0, "misplaced: the block says it is 5");
	image_pool_close(&pool);
}

static void every_bit_of_the_superblock_is_guarded_by_the_checksum(void **state)
{
	struct image_pool pool;

	(void)state;
	image_pool_open(&pool, &full, devices, NR_OF(devices));
	for (size_t bit = 0; bit < 8 * (size_t)THINP_BLOCK_SIZE; bit += bit < 8 * TP_THIN_SUPERBLOCK_SIZE ? 1 : 97) {
		image_flip(&pool.image, 0, bit);
		expect_refused(&pool.image, THINP_ECORRUPT, 0, "checksum");
		image_flip(&pool.image, 0, bit);
	}
	image_pool_close(&pool);
}

static const size_t addresses[] = {DATA_INDEX,   DATA_OVERFLOW, METADATA_INDEX, METADATA_OVERFLOW,
				   MAPPING_ROOT, DETAILS_ROOT,  HELD_ROOT};

static void TOOL_09_an_address_that_no_block_has_is_refused_in_each_place(void **state)
{
	static const uint64_t bad[] = {0, IMAGE_POOL_BLOCKS, IMAGE_POOL_BLOCKS + 1, UINT64_C(1) << 40, UINT64_MAX};

	(void)state;
	for (size_t i = 0; i < NR_OF(addresses); i++)
		for (size_t j = 0; j < NR_OF(bad); j++) {
			struct image_pool pool;

			if (addresses[i] == HELD_ROOT && !bad[j])
				continue; /* there is no metadata snapshot */
			image_pool_open(&pool, &full, devices, NR_OF(devices));
			image_set64(&pool.image, 0, addresses[i], bad[j]);
			expect_refused(&pool.image, THINP_ECORRUPT, 0, "cannot be at block");
			image_pool_close(&pool);
		}
}

static void two_structures_in_one_block_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < NR_OF(addresses); i++)
		for (size_t j = 0; j < i; j++) {
			struct image_pool pool;

			image_pool_open(&pool, &full, devices, NR_OF(devices));
			image_set64(&pool.image, 0, addresses[i], image_get64(&pool.image, 0, addresses[j]));
			expect_refused(&pool.image, THINP_ECORRUPT, 0, "are both at block");
			image_pool_close(&pool);
		}
}

/* --- odd, but taken -------------------------------------------------------------------------------------------------- */

static void expect_one_word_to_the_log(struct image_pool *image, const char *words)
{
	struct thinp_pool *pool;
	struct log log;

	assert_int_equal(open_with(&image->image, 0, &log, &pool), 0);
	thinp_pool_close(pool);
	assert_int_equal(log.nr, 1);
	assert_int_equal(log.last.size, sizeof(log.last));
	assert_int_equal(log.last.level, THINP_LOG_WARNING);
	assert_int_equal(log.last.code, 0);
	assert_string_equal(log.last.room, "thin");
	if (!strstr(log.text, words))
		fail_msg("\"%s\" lacks \"%s\"", log.text, words);
	assert_int_equal(thinp_pool_open(image->image.io, NULL, &pool), 0); /* nobody listens */
	thinp_pool_close(pool);
}

static void what_is_only_odd_is_taken_with_one_word_to_the_log(void **state)
{
	static const struct field odd[] = {
		{COMPAT, 4, 4, 0, "0x4"},
		{COMPAT_RO, 4, 8, 0, "0x8"},
		{VERSION, 4, 0, 0, "version 0"},
		{VERSION, 4, 3, 0, "version 3"},
		{FLAGS, 4, 6, 0, "flags 0x6"},
		{DATA_BLOCK_SIZE, 4, 0, 0, "data blocks of 0 sectors"},
		{DATA_BLOCK_SIZE, 4, 64, 0, "data blocks of 64 sectors"},
		{DATA_BLOCK_SIZE, 4, 200, 0, "data blocks of 200 sectors"},
		{DATA_BLOCK_SIZE, 4, 2097152 + 128, 0, "data blocks of 2097280 sectors"},
		{FORMATTED_BLOCKS, 8, IMAGE_POOL_BLOCKS + 1, 0, "2001 metadata blocks"},
		{UUID, 8, 1, 0, "should be zero"},
		{UUID + 8, 8, UINT64_C(1) << 56, 0, "should be zero"},
		{DATA_MAP_TAIL, 8, 1, 0, "should be zero"},
		{METADATA_NR_BLOCKS - 8, 8, UINT64_C(1) << 63, 0, "should be zero"},
		{METADATA_MAP_TAIL, 8, 1, 0, "should be zero"},
		{MAPPING_ROOT - 4, 4, 1, 0, "should be zero"},
		{END, 4, 1, 0, "should be zero"},
		{512, 8, 1, 0, "should be zero"},
		{THINP_BLOCK_SIZE - 8, 8, UINT64_C(1) << 63, 0, "should be zero"},
	};

	(void)state;
	for (size_t i = 0; i < NR_OF(odd); i++) {
		struct image_pool pool;

		image_pool_open(&pool, &full, devices, NR_OF(devices));
		set_field(&pool, &odd[i]);
		expect_one_word_to_the_log(&pool, odd[i].words);
		image_pool_close(&pool);
	}
}

static void bytes_that_should_be_zero_are_told_once_however_many_there_are(void **state)
{
	struct image_pool pool;

	(void)state;
	image_pool_open(&pool, &full, devices, NR_OF(devices));
	for (size_t offset = END; offset < THINP_BLOCK_SIZE; offset += 4)
		image_set32(&pool.image, 0, offset, 1);
	image_set64(&pool.image, 0, UUID, 1);
	image_set64(&pool.image, 0, DATA_MAP_TAIL, 1);
	expect_one_word_to_the_log(&pool, "should be zero");
	image_pool_close(&pool);
}

static void every_oddity_is_told(void **state)
{
	struct image_pool image;
	struct thinp_pool *pool;
	struct log log;

	(void)state;
	image_pool_open(&image, &full, devices, NR_OF(devices));
	image_set32(&image.image, 0, COMPAT, 1);
	image_set32(&image.image, 0, COMPAT_RO, 1);
	image_set32(&image.image, 0, VERSION, 9);
	image_set32(&image.image, 0, FLAGS, 2);
	image_set32(&image.image, 0, DATA_BLOCK_SIZE, 1);
	image_set64(&image.image, 0, METADATA_NR_BLOCKS, IMAGE_POOL_BLOCKS + 1);
	image_set64(&image.image, 0, FORMATTED_BLOCKS, IMAGE_POOL_BLOCKS + 2);
	image_set64(&image.image, 0, UUID, 1);
	assert_int_equal(open_with(&image.image, 0, &log, &pool), 0);
	assert_int_equal(log.nr, 8);
	thinp_pool_close(pool);
	image_pool_close(&image);
}

/* What is behind the end is damage when it is needed, and not before. */
static void TOOL_11_a_device_that_is_too_short_is_taken_with_one_word_to_the_log(void **state)
{
	struct image_pool pool;

	(void)state;
	image_pool_open(&pool, &full, devices, NR_OF(devices));
	image_set64(&pool.image, 0, METADATA_NR_BLOCKS, IMAGE_POOL_BLOCKS + 1);
	expect_one_word_to_the_log(&pool, "2001 blocks, but the device ends after 2000");
	image_pool_close(&pool);
}

static void a_good_pool_says_nothing_to_the_log(void **state)
{
	static const struct field good[] = {
		{VERSION, 4, 1, 0, ""}, /* old restore tools write it */
		{FLAGS, 4, 1, 0, ""},   /* needs a check */
		{TIME, 4, (1 << 24) - 1, 0, ""},
		{DATA_BLOCK_SIZE, 4, 128, 0, ""},
		{DATA_BLOCK_SIZE, 4, 2097152, 0, ""},
		{FORMATTED_BLOCKS, 8, 100, 0, ""},    /* it has grown since */
		{METADATA_NR_BLOCKS, 8, 1999, 0, ""}, /* it has not grown into the device yet */
	};

	(void)state;
	for (size_t i = 0; i < NR_OF(good); i++) {
		struct image_pool image;
		struct thinp_pool *pool;
		struct log log;

		image_pool_open(&image, &full, devices, NR_OF(devices));
		image_set64(&image.image, 0, FORMATTED_BLOCKS, 1000);
		set_field(&image, &good[i]);
		assert_int_equal(open_with(&image.image, 0, &log, &pool), 0);
		assert_int_equal(log.nr, 0);
		thinp_pool_close(pool);
		image_pool_close(&image);
	}
}

/* --- what it says ---------------------------------------------------------------------------------------------------- */

static void every_fact_of_the_superblock_is_told(void **state)
{
	struct thinp_pool_info info = {.size = sizeof(info)};
	struct image_pool image;
	struct thinp_pool *pool;

	(void)state;
	image_pool_open(&image, &full, devices, NR_OF(devices));
	image.sb.flags = 1;
	image.sb.uuid[3] = 9;
	image.sb.version = 1;
	image.sb.time = 77;
	image.sb.transaction_id = UINT64_MAX - 5;
	image.sb.data_sm.nr_blocks = UINT64_C(1) << 40;
	image.sb.data_block_size = 256;
	image.sb.compat_flags = 2;
	image.sb.compat_ro_flags = 3;
	image_pool_write_superblock(&image);
	assert_int_equal(thinp_pool_open(image.image.io, NULL, &pool), 0);
	thinp_pool_get_info(pool, &info);
	assert_int_equal(info.uuid[3], 9);
	assert_int_equal(info.transaction_id, UINT64_MAX - 5);
	assert_int_equal(info.metadata_snap, 0);
	assert_int_equal(info.nr_data_blocks, UINT64_C(1) << 40);
	assert_int_equal(info.nr_data_allocated, 20);
	assert_int_equal(info.nr_metadata_blocks, IMAGE_POOL_BLOCKS);
	assert_int_equal(info.nr_metadata_allocated, image.sb.metadata_sm.nr_allocated);
	assert_int_equal(info.mapping_root, image.sb.mapping_root);
	assert_int_equal(info.details_root, image.sb.details_root);
	assert_int_equal(info.data_block_sectors, 256);
	assert_int_equal(info.version, 1);
	assert_int_equal(info.time, 77);
	assert_int_equal(info.flags, THINP_POOL_NEEDS_CHECK);
	assert_int_equal(info.compat_flags, 2);
	assert_int_equal(info.compat_ro_flags, 3);
	assert_int_equal(info.incompat_flags, 0);
	assert_int_equal(info.is_metadata_snap, 0);
	thinp_pool_close(pool);
	image_pool_close(&image);
}

/* --- failures of others ---------------------------------------------------------------------------------------------- */

static int use_nothing(struct image_trial *trial)
{
	struct thinp_pool_info info = {.size = sizeof(info)};

	thinp_pool_get_info(trial->handle, &info);
	assert_int_equal(info.nr_data_blocks, IMAGE_POOL_DATA_BLOCKS);
	return 0;
}

static void opening_survives_failing_reads_and_allocations(void **state)
{
	struct image_pool image;
	struct image_trial trial;

	(void)state;
	image_pool_open(&image, &full, devices, NR_OF(devices));
	trial = image_pool_trial(&image, use_nothing, NULL);
	image_trial_run(&trial);
	image_pool_close(&image);
}

static int no_size(void *ctx, uint64_t *nr_blocks)
{
	(void)ctx;
	(void)nr_blocks;
	return -EIO;
}

static int no_batch(void *ctx, struct thinp_io_op *ops, size_t nr_ops)
{
	(void)ctx;
	(void)ops;
	(void)nr_ops;
	return -EIO;
}

static void a_device_that_does_not_tell_its_size_has_failed(void **state)
{
	static const struct thinp_io_backend table = {.size = sizeof(table), .get_size = no_size, .batch = no_batch};
	struct thinp_pool *pool = NULL;
	struct thinp_io *io;

	(void)state;
	assert_int_equal(thinp_io_create(&table, NULL, NULL, &io), 0);
	assert_int_equal(thinp_pool_open(io, NULL, &pool), THINP_EIO);
	expect_detail(THINP_EIO);
	assert_null(pool);
	thinp_io_close(io);
}

static void closing_no_pool_is_allowed(void **state)
{
	(void)state;
	thinp_pool_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_device_of_zeros_is_unformatted),
		cmocka_unit_test(one_bit_that_is_set_makes_it_damage),
		cmocka_unit_test(TOOL_20_a_device_of_no_blocks_is_too_small),
		cmocka_unit_test(TOOL_20_xml_given_as_metadata_is_named),
		cmocka_unit_test(superblocks_of_other_targets_are_named),
		cmocka_unit_test(fields_that_make_no_sense_are_refused),
		cmocka_unit_test(no_number_of_blocks_makes_it_take_much_memory),
		cmocka_unit_test(a_superblock_with_the_address_of_another_block_is_refused),
		cmocka_unit_test(every_bit_of_the_superblock_is_guarded_by_the_checksum),
		cmocka_unit_test(TOOL_09_an_address_that_no_block_has_is_refused_in_each_place),
		cmocka_unit_test(two_structures_in_one_block_are_refused),
		cmocka_unit_test(what_is_only_odd_is_taken_with_one_word_to_the_log),
		cmocka_unit_test(bytes_that_should_be_zero_are_told_once_however_many_there_are),
		cmocka_unit_test(every_oddity_is_told),
		cmocka_unit_test(TOOL_11_a_device_that_is_too_short_is_taken_with_one_word_to_the_log),
		cmocka_unit_test(a_good_pool_says_nothing_to_the_log),
		cmocka_unit_test(every_fact_of_the_superblock_is_told),
		cmocka_unit_test(opening_survives_failing_reads_and_allocations),
		cmocka_unit_test(a_device_that_does_not_tell_its_size_has_failed),
		cmocka_unit_test(closing_no_pool_is_allowed),
	};

	return cmocka_run_group_tests_name("thin/open", tests, NULL, NULL);
}
