/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checks of images of real kernels: as they are, damaged at random, with threads, short of memory, on a bad device.
 *
 * THINP_TEST_SEED repeats a run; THINP_TEST_FACTOR multiplies the number of cases.
 */
#include "base/bytes.h"
#include "format/kind.h"
#include "format/node.h"
#include "integration/image_device.h"
#include "support/alloc_counting.h"

#include <thinp/check.h>
#include <thinp/error.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit/base/random.h"

static uint64_t rng;

static unsigned factor(void)
{
	const char *text = getenv("THINP_TEST_FACTOR");

	return text ? (unsigned)strtoul(text, NULL, 10) : 1;
}

/* An image as a device that several threads can read, and that can refuse some blocks. */
struct subject {
	struct image_device image;
	struct thinp_io *io;
	thinp_block_t bad_begin, bad_end; /* cannot be read */
	uint64_t nr_blocks;
};

static int get_size(void *ctx, uint64_t *nr_blocks)
{
	*nr_blocks = ((struct subject *)ctx)->nr_blocks;
	return 0;
}

static int batch(void *ctx, struct thinp_io_op *ops, size_t nr_ops)
{
	const struct subject *subject = ctx;
	int first = 0;

	for (size_t i = 0; i < nr_ops; i++) {
		bool is_bad = ops[i].block < subject->bad_end && subject->bad_begin < ops[i].block + ops[i].nr_blocks;

		ops[i].result = is_bad ? THINP_EIO : 0;
		if (!is_bad)
			memcpy(ops[i].buffer, subject->image.data + ops[i].block * THINP_BLOCK_SIZE,
			       ops[i].nr_blocks * THINP_BLOCK_SIZE);
		if (!first)
			first = ops[i].result;
	}
	return first;
}

static void subject_open(struct subject *subject, const char *fixture)
{
	const struct thinp_io_backend backend = {
		.size = sizeof(backend), .name = "image", .get_size = get_size, .batch = batch};
	const struct thinp_io_opts opts = {.size = sizeof(opts), .flags = THINP_IO_READ_ONLY};

	memset(subject, 0, sizeof(*subject));
	image_device_open(&subject->image, fixture);
	subject->nr_blocks = subject->image.nr_blocks;
	assert_int_equal(thinp_io_create(&backend, subject, &opts, &subject->io), 0);
}

static void subject_close(struct subject *subject)
{
	thinp_io_close(subject->io);
	image_device_close(&subject->image);
}

static const char *const pools[] = {"kernel-datafull.meta", "kernel-heldroot.meta", "kernel-fragmented.meta",
				    "kernel-snaps.meta",    "kernel-metafull.meta", "kernel-empty.meta"};

#define NR_POOLS (sizeof(pools) / sizeof(pools[0]))

/* All findings as one text. */
struct told {
	char *text;
	size_t len;
	size_t room;
	int stop_with;
};

static int take_finding(void *ctx, const struct thinp_check_finding *f)
{
	struct told *told = ctx;

	if (told->len + 512 > told->room) {
		told->room = 2 * told->room + 4096;
		told->text = realloc(told->text, told->room);
		assert_non_null(told->text);
	}
	assert_string_not_equal(f->name, "?");
	assert_string_not_equal(thinp_check_part_name(f->part), "?");
	assert_string_not_equal(thinp_check_severity_name(f->severity), "?");
	told->len += (size_t)snprintf(
		told->text + told->len, 512,
		"%d %s %d %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %s\n", f->severity,
		f->name, f->part, f->block, f->device, f->begin, f->end, f->stored, f->expected, f->text);
	return told->stop_with;
}

static struct thinp_check_opts opts_of(struct told *told, struct alloc_counting *alloc)
{
	return (struct thinp_check_opts){.size = sizeof(struct thinp_check_opts),
					 .finding = told ? take_finding : NULL,
					 .finding_ctx = told,
					 .allocator = alloc ? &alloc->table : NULL};
}

static int check(struct subject *subject, const struct thinp_check_opts *opts, struct thinp_check_result *result)
{
	*result = (struct thinp_check_result){.size = sizeof(*result)};
	return thinp_check_device(subject->io, opts, result);
}

/* --- as they are --- */

static int add_used(void *ctx, uint64_t begin, uint64_t end, uint32_t count)
{
	uint64_t *nr = ctx;

	*nr += count ? end - begin : 0;
	return 0;
}

static void TOOL_27_what_is_used_is_what_the_maps_of_kernels_say(void **state)
{
	(void)state;
	for (size_t i = 0; i < NR_POOLS; i++) {
		bool has_leak = !strcmp(pools[i], "kernel-metafull.meta"); /* that kernel lost a data block */
		struct thinp_check_result result = {.size = sizeof(result)};
		struct thinp_pool_info info = {.size = sizeof(info)};
		uint64_t nr_data = 0, nr_metadata = 0;
		struct thinp_pool *pool;
		struct subject subject;

		subject_open(&subject, pools[i]);
		assert_int_equal(thinp_pool_open(subject.io, NULL, &pool), 0);
		assert_int_equal(thinp_check_pool(pool, NULL, &result), 0);
		thinp_pool_get_info(pool, &info);
		thinp_pool_walk_counts(pool, THINP_POOL_DATA, 0, info.nr_data_blocks, add_used, &nr_data);
		thinp_pool_walk_counts(pool, THINP_POOL_METADATA, 0, info.nr_metadata_blocks, add_used, &nr_metadata);
		assert_int_equal(result.nr_data_used, nr_data - has_leak);
		assert_int_equal(result.nr_metadata_used, nr_metadata);
		assert_int_equal(result.nr_data_leaked, has_leak);
		assert_int_equal(result.nr_leak, has_leak);
		assert_int_equal(result.nr_fatal + result.nr_meta + result.nr_warning, 0);
		assert_int_equal(result.nr_blocks_read, nr_metadata); /* each of them once */
		thinp_pool_close(pool);
		subject_close(&subject);
	}
}

static void TOOL_07_a_metadata_snapshot_is_checked_by_itself(void **state)
{
	const struct thinp_pool_opts pool_opts = {.size = sizeof(pool_opts), .flags = THINP_POOL_METADATA_SNAP};
	struct thinp_check_result result = {.size = sizeof(result)};
	struct told told = {.text = NULL};
	struct thinp_check_opts opts = opts_of(&told, NULL);
	struct thinp_pool *pool;
	struct subject subject;
	uint64_t live_index;

	(void)state;
	subject_open(&subject, "kernel-heldroot.meta");
	live_index = tp_load_le64(subject.image.data + 208); /* what is no part of the snapshot may be anything */
	memset(subject.image.data + live_index * THINP_BLOCK_SIZE, 0xff, THINP_BLOCK_SIZE);
	assert_int_equal(thinp_pool_open(subject.io, &pool_opts, &pool), 0);
	assert_int_equal(thinp_check_pool(pool, &opts, &result), 0);
	assert_int_equal(result.nr_fatal + result.nr_leak + result.nr_meta + result.nr_warning, 0);
	assert_int_equal(result.flags, THINP_CHECK_COUNTS_SKIPPED);
	assert_int_equal(result.nr_devices, 1);
	assert_non_null(strstr(told.text, "counts were not checked"));
	thinp_pool_close(pool);
	assert_int_equal(check(&subject, NULL, &result), 0);
	assert_true(result.nr_fatal > 0);
	free(told.text);
	subject_close(&subject);
}

/* --- damage at random --- */

static const struct thinp_block_type *type_of(const uint8_t *block)
{
	const struct thinp_block_type *const types[] = {thinp_block_type_thin_superblock(), thinp_block_type_node(),
							thinp_block_type_bitmap(), thinp_block_type_index()};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (tp_load_le32(block) == (tp_block_crc(block) ^ types[i]->csum_xor))
			return types[i];
	return NULL;
}

/* Most changes go to fields with a meaning, some to anywhere. */
static size_t random_offset(const uint8_t *block, const struct thinp_block_type *type)
{
	uint32_t nr = tp_node_nr_entries(block);

	if (random_below(&rng, 8) == 0)
		return 4 + 4 * random_below(&rng, (THINP_BLOCK_SIZE - 8) / 4);
	if (type != thinp_block_type_node())
		return 4 + 4 * random_below(&rng, 90);
	if (random_below(&rng, 2) || !nr || nr > 336)
		return 4 + 4 * random_below(&rng, 7);
	if (random_below(&rng, 2))
		return TP_NODE_HEADER_SIZE + 8 * random_below(&rng, nr);
	return (size_t)(tp_node_values(block) - block) + tp_node_value_size(block) * random_below(&rng, nr);
}

static uint64_t random_value(const struct subject *subject, uint64_t old)
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
	case 6:
		return random_below(&rng, subject->nr_blocks);
	default:
		return random_next(&rng);
	}
}

/* A block that is in use, of any kind. */
static thinp_block_t random_block(const struct subject *subject)
{
	thinp_block_t block;

	do
		block = random_below(&rng, random_below(&rng, 4) ? subject->nr_blocks : 64) % subject->nr_blocks;
	while (!type_of(subject->image.data + block * THINP_BLOCK_SIZE));
	return block;
}

static void change_one_field(struct subject *subject, uint8_t *block)
{
	const struct thinp_block_type *type = type_of(block);
	size_t offset = random_offset(block, type);

	if (offset > THINP_BLOCK_SIZE - 8)
		offset = THINP_BLOCK_SIZE - 8;
	if (random_below(&rng, 2))
		tp_store_le32(block + offset, (uint32_t)random_value(subject, tp_load_le32(block + offset)));
	else
		tp_store_le64(block + offset, random_value(subject, tp_load_le64(block + offset)));
	tp_store_le32(block, tp_block_crc(block) ^ type->csum_xor); /* its own address stays as it is */
}

/* The same findings, whoever does the work. */
static void check_in_all_ways(struct subject *subject, uint64_t max_bytes)
{
	struct told told[2] = {{.text = NULL}, {.text = NULL}};
	struct thinp_check_result results[2];

	for (size_t i = 0; i < 2; i++) {
		struct alloc_counting alloc;
		struct thinp_check_opts opts = opts_of(&told[i], &alloc);

		alloc_counting_init(&alloc);
		opts.max_findings = 10;
		if (i) {
			opts.parallel_for = thinp_parallel_for_pthreads;
			opts.nr_tasks = 3;
		}
		assert_int_equal(check(subject, &opts, &results[i]), 0);
		alloc_counting_check(&alloc);
		assert_true(alloc.peak_bytes <= max_bytes + (i ? max_bytes : 0));
		assert_true(results[i].peak_bytes >= alloc.peak_bytes); /* tasks count first, and allocate then */
		if (!i)
			assert_int_equal(results[i].peak_bytes, alloc.peak_bytes);
		assert_true(results[i].nr_blocks_read <= subject->nr_blocks + 1);
	}
	assert_int_equal(told[0].len, told[1].len);
	if (told[0].len)
		assert_memory_equal(told[0].text, told[1].text, told[0].len);
	assert_int_equal(results[0].nr_fatal, results[1].nr_fatal);
	assert_int_equal(results[0].nr_leak, results[1].nr_leak);
	assert_int_equal(results[0].nr_data_used, results[1].nr_data_used);
	assert_int_equal(results[0].nr_mappings, results[1].nr_mappings);
	assert_int_equal(results[0].flags, results[1].flags);
	free(told[0].text);
	free(told[1].text);
}

enum { DATA_BLOCKS_AT = 64, METADATA_BLOCKS_AT = 192 }; /* in a superblock: how many each map's root tells of */

/* Checks a pool whose superblock claims what cannot be; *nr_bytes: of memory, at most. */
static void check_claims(uint64_t nr_data, uint64_t nr_metadata, struct thinp_check_result *result, uint64_t *nr_bytes)
{
	struct alloc_counting alloc;
	struct thinp_check_opts opts = opts_of(NULL, &alloc);
	struct subject subject;

	alloc_counting_init(&alloc);
	subject_open(&subject, "kernel-heldroot.meta");
	tp_store_le64(subject.image.data + DATA_BLOCKS_AT, nr_data);
	if (nr_metadata)
		tp_store_le64(subject.image.data + METADATA_BLOCKS_AT, nr_metadata);
	tp_store_le32(subject.image.data,
		      tp_block_crc(subject.image.data) ^ thinp_block_type_thin_superblock()->csum_xor);
	assert_int_equal(check(&subject, &opts, result), 0);
	alloc_counting_check(&alloc);
	assert_true(result->nr_fatal > 0);
	*nr_bytes = alloc.peak_bytes;
	subject_close(&subject);
}

/* Nothing can be counted then, neither of the last commit nor of the snapshot. */
static void a_metadata_snapshot_and_an_impossible_data_device(void **state)
{
	struct thinp_check_result result;
	uint64_t nr_bytes;

	(void)state;
	check_claims(UINT64_C(1) << 63, 0, &result, &nr_bytes);
	assert_int_equal(result.nr_leak, 0);
}

/* Memory is for what is there, not for what a damaged superblock says. */
static void what_a_superblock_claims_takes_no_memory(void **state)
{
	struct thinp_check_result result;
	uint64_t nr_bytes;

	(void)state;
	check_claims(UINT64_C(1) << 39, UINT64_C(1) << 35, &result, &nr_bytes);
	assert_true(nr_bytes <= 6u << 20);
}

static void TOOL_01_any_damage_is_told_alike_by_one_task_and_by_several(void **state)
{
	static const unsigned nr_cases[NR_POOLS] = {400, 400, 60, 20, 10, 150};

	(void)state;
	for (size_t i = 0; i < NR_POOLS; i++) {
		struct subject subject;
		uint8_t *saved;

		subject_open(&subject, pools[i]);
		saved = malloc(subject.nr_blocks * THINP_BLOCK_SIZE);
		assert_non_null(saved);
		memcpy(saved, subject.image.data, subject.nr_blocks * THINP_BLOCK_SIZE);
		for (unsigned n = 0; n < nr_cases[i] * factor(); n++) {
			for (uint64_t changes = 1 + random_below(&rng, random_below(&rng, 4) ? 2 : 30); changes;
			     changes--)
				change_one_field(&subject,
						 subject.image.data + random_block(&subject) * THINP_BLOCK_SIZE);
			check_in_all_ways(&subject, 6u << 20);
			memcpy(subject.image.data, saved, subject.nr_blocks * THINP_BLOCK_SIZE);
		}
		free(saved);
		subject_close(&subject);
	}
}

static bool is_used(struct subject *subject, thinp_block_t block)
{
	struct thinp_pool *pool;
	uint32_t count = 0;

	assert_int_equal(thinp_pool_open(subject->io, NULL, &pool), 0);
	assert_int_equal(thinp_pool_get_count(pool, THINP_POOL_METADATA, block, &count), 0);
	thinp_pool_close(pool);
	return count;
}

static void TOOL_02_a_flipped_bit_in_any_block_is_fatal_and_named(void **state)
{
	static const unsigned nr_cases[NR_POOLS] = {300, 300, 60, 20, 10, 100};
	unsigned nr = 0;

	(void)state;
	for (size_t i = 0; i < NR_POOLS; i++) {
		struct subject subject;

		subject_open(&subject, pools[i]);
		for (unsigned n = 0; n < nr_cases[i] * factor(); n++) {
			thinp_block_t block = random_block(&subject);
			uint8_t *byte =
				subject.image.data + block * THINP_BLOCK_SIZE + random_below(&rng, THINP_BLOCK_SIZE);
			uint8_t bit = (uint8_t)(1u << random_below(&rng, 8));
			struct told told = {.text = NULL};
			struct thinp_check_opts opts = opts_of(&told, NULL);
			struct thinp_check_result result;
			char named[32];

			if (!is_used(&subject, block))
				continue;
			*byte ^= bit;
			assert_int_equal(check(&subject, &opts, &result), 0);
			*byte ^= bit;
			assert_true(result.nr_fatal > 0);
			snprintf(named, sizeof(named), " %" PRIu64 " ", block);
			assert_non_null(strstr(told.text, named));
			free(told.text);
			nr++;
		}
		subject_close(&subject);
	}
	assert_true(nr > 100);
}

/* --- a bad device --- */

static void TOOL_11_BL2_what_cannot_be_read_is_counted_and_the_rest_is_checked(void **state)
{
	struct thinp_error_info before = {.size = sizeof(before)}, after = {.size = sizeof(after)};
	struct thinp_check_result healthy, result;
	struct told told = {.text = NULL};
	struct thinp_check_opts opts = opts_of(&told, NULL);
	struct subject subject;
	char named[16];

	(void)state;
	subject_open(&subject, "kernel-fragmented.meta");
	assert_int_equal(check(&subject, NULL, &healthy), 0);
	(void)thinp_error_report(THINP_ENOSPC, 4711, "what was before");
	thinp_error_last(&before);
	for (thinp_block_t b = 1; b < 200; b += 1 + random_below(&rng, 5)) {
		if (!is_used(&subject, b))
			continue;
		subject.bad_begin = b;
		subject.bad_end = b + 1;
		told.len = 0;
		assert_int_equal(check(&subject, &opts, &result), 0);
		snprintf(named, sizeof(named), "%d BL2 ", THINP_CHECK_FATAL);
		assert_non_null(strstr(told.text, named));
		assert_null(strstr(told.text, " BL3 "));
		thinp_error_last(&after);
		assert_memory_equal(&before, &after, sizeof(before));
		assert_true(result.nr_fatal > 0);
		assert_int_equal(result.nr_unreadable, 1);
		subject.bad_begin = subject.bad_end = 0;
	}
	subject.bad_end = 1;
	assert_int_equal(check(&subject, NULL, &result), 0);
	assert_int_equal(result.nr_unreadable, 1);
	assert_int_equal(result.nr_fatal, 1);
	free(told.text);
	subject_close(&subject);
}

static void TOOL_11_any_length_of_file_is_taken(void **state)
{
	static const uint64_t lengths[] = {0, 1, 2, 7, 100, 500};

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct thinp_check_result result;
		struct subject subject;

		subject_open(&subject, "kernel-snaps.meta");
		subject.nr_blocks = lengths[i];
		assert_int_equal(check(&subject, NULL, &result), 0);
		assert_true(result.nr_fatal > 0);
		subject.nr_blocks = subject.image.nr_blocks;
		subject_close(&subject);
	}
}

/* --- the caller's say --- */

static int check_with(void *ctx)
{
	struct alloc_counting *alloc = ctx;
	struct told told = {.text = NULL};
	struct thinp_check_opts opts = opts_of(&told, alloc);
	struct thinp_check_result result;
	struct subject subject;
	int r;

	subject_open(&subject, "kernel-heldroot.meta");
	subject.image.data[5 * THINP_BLOCK_SIZE + 9] ^= 1;
	r = check(&subject, &opts, &result);
	free(told.text);
	subject_close(&subject);
	return r;
}

static void every_allocation_may_fail(void **state)
{
	struct alloc_counting alloc;

	(void)state;
	alloc_counting_init(&alloc);
	alloc_counting_loop(&alloc, check_with, &alloc);
}

static void TOOL_32_a_limit_of_memory_holds(void **state)
{
	struct thinp_error_info info = {.size = sizeof(info)};
	struct thinp_check_result result;
	struct alloc_counting alloc;
	struct thinp_check_opts opts = opts_of(NULL, &alloc);
	struct subject subject;
	uint64_t needed;

	(void)state;
	alloc_counting_init(&alloc);
	subject_open(&subject, "kernel-snaps.meta");
	assert_int_equal(check(&subject, &opts, &result), 0);
	needed = result.peak_bytes;
	opts.max_bytes = needed;
	assert_int_equal(check(&subject, &opts, &result), 0);
	for (uint64_t limit = needed - 1; limit > needed / 64; limit = limit * 3 / 4) {
		opts.max_bytes = limit;
		alloc.peak_bytes = 0;
		assert_int_equal(check(&subject, &opts, &result), THINP_ENOMEM);
		thinp_error_last(&info);
		assert_int_equal(info.code, THINP_ENOMEM);
		assert_true(alloc.peak_bytes <= limit);
	}
	alloc_counting_check(&alloc);
	subject_close(&subject);
}

struct asked {
	uint64_t nr;
	uint64_t stop_at;
	uint64_t last;
};

static int ask(void *ctx, uint64_t done, uint64_t total)
{
	struct asked *asked = ctx;

	assert_true(total > 0);
	asked->last = done;
	return ++asked->nr == asked->stop_at;
}

static void progress_comes_to_its_end_and_can_cancel(void **state)
{
	struct thinp_check_result result;
	struct alloc_counting alloc;
	struct asked asked = {.nr = 0};
	struct thinp_check_opts opts = opts_of(NULL, &alloc);
	struct subject subject;
	uint64_t nr;

	(void)state;
	alloc_counting_init(&alloc);
	subject_open(&subject, "kernel-fragmented.meta");
	opts.progress = ask;
	opts.progress_ctx = &asked;
	assert_int_equal(check(&subject, &opts, &result), 0);
	assert_true(asked.last >= result.nr_metadata_used - 2); /* block 0 and the index are read by themselves */
	nr = asked.nr;
	for (uint64_t i = 1; i <= nr; i++) {
		asked = (struct asked){.stop_at = i};
		opts.parallel_for = i % 2 ? thinp_parallel_for_pthreads : NULL;
		opts.nr_tasks = 1;
		assert_int_equal(check(&subject, &opts, &result), THINP_ECANCELED);
	}
	alloc_counting_check(&alloc);
	subject_close(&subject);
}

static void the_callback_for_findings_can_end_it(void **state)
{
	struct told told = {.stop_with = 77};
	struct thinp_check_opts opts = opts_of(&told, NULL);
	struct thinp_check_result result;
	struct subject subject;

	(void)state;
	subject_open(&subject, "kernel-metafull.meta");
	assert_int_equal(check(&subject, &opts, &result), 77);
	assert_int_equal(result.nr_leak, 0); /* untouched */
	free(told.text);
	subject_close(&subject);
}

static int count_of_rule(void *ctx, const struct thinp_check_finding *finding)
{
	unsigned *nr = ctx;

	if (finding->rule == THINP_CHECK_D6) {
		assert_true(finding->stored >= 5);
		assert_int_equal(finding->expected, 5);
		(*nr)++;
	}
	return 0;
}

static void of_each_rule_some_are_told_and_all_are_counted(void **state)
{
	struct thinp_check_opts opts = opts_of(NULL, NULL);
	struct thinp_check_result result;
	struct subject subject;

	(void)state;
	subject_open(&subject, "kernel-fragmented.meta");
	tp_store_le64(subject.image.data + 64, 5); /* a data device of five blocks */
	tp_store_le32(subject.image.data, tp_block_crc(subject.image.data) ^ TP_CSUM_XOR_THIN_SUPERBLOCK);
	opts.finding = count_of_rule;
	for (uint32_t most = 0; most < 20; most += 7) {
		unsigned nr = 0;

		opts.max_findings = most;
		opts.finding_ctx = &nr;
		assert_int_equal(check(&subject, &opts, &result), 0);
		assert_int_equal(nr, most ? most : 100);
		assert_true(result.nr_fatal >= 30965 - 5); /* mappings of this pool */
	}
	for (unsigned i = 0; i < 20; i++) /* the lowest ones, whoever finds them first */
		check_in_all_ways(&subject, 6u << 20);
	subject_close(&subject);
}

static void options_that_are_not_known_are_refused(void **state)
{
	struct thinp_check_opts opts = opts_of(NULL, NULL);
	struct thinp_check_result result;
	struct subject subject;

	(void)state;
	subject_open(&subject, "kernel-empty.meta");
	opts.flags = 4;
	assert_int_equal(check(&subject, &opts, &result), THINP_ENOTSUP);
	opts.flags = THINP_CHECK_METADATA_SNAP;
	assert_int_equal(check(&subject, &opts, &result), THINP_ENOENT);
	assert_int_equal(thinp_check_device(subject.io, NULL, NULL), 0);
	assert_string_equal(thinp_check_rule_name(0), "?");
	assert_string_equal(thinp_check_rule_name(THINP_CHECK_SM11), "SM11");
	assert_string_equal(thinp_check_rule_name(THINP_CHECK_H3 + 1), "?");
	assert_string_equal(thinp_check_rule_name(-1), "?");
	assert_string_equal(thinp_check_rule_name(100), "?");
	assert_string_equal(thinp_check_rule_name(700), "?");
	subject_close(&subject);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(TOOL_27_what_is_used_is_what_the_maps_of_kernels_say),
		cmocka_unit_test(TOOL_07_a_metadata_snapshot_is_checked_by_itself),
		cmocka_unit_test(a_metadata_snapshot_and_an_impossible_data_device),
		cmocka_unit_test(what_a_superblock_claims_takes_no_memory),
		cmocka_unit_test(TOOL_01_any_damage_is_told_alike_by_one_task_and_by_several),
		cmocka_unit_test(TOOL_02_a_flipped_bit_in_any_block_is_fatal_and_named),
		cmocka_unit_test(TOOL_11_BL2_what_cannot_be_read_is_counted_and_the_rest_is_checked),
		cmocka_unit_test(TOOL_11_any_length_of_file_is_taken),
		cmocka_unit_test(every_allocation_may_fail),
		cmocka_unit_test(TOOL_32_a_limit_of_memory_holds),
		cmocka_unit_test(progress_comes_to_its_end_and_can_cancel),
		cmocka_unit_test(the_callback_for_findings_can_end_it),
		cmocka_unit_test(of_each_rule_some_are_told_and_all_are_counted),
		cmocka_unit_test(options_that_are_not_known_are_refused),
	};

	rng = random_begin();
	return cmocka_run_group_tests_name("integration/check", tests, NULL, NULL);
}
