/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The JSON of a dump, read back by a small parser that takes nothing but what RFC 8259 allows.
 */
#include "support/image_expect.h"
#include "support/image_pool.h"
#include "support/image_text.h"

#include <thinp/dump.h>

#include <stdlib.h>

#include "unit/base/random.h"

#define NR_OF(array) (sizeof(array) / sizeof((array)[0]))

/* --- a parser -------------------------------------------------------------------------------------------------------- */

/* What a document is made of here: objects, arrays and unsigned numbers. Every number is told with the name it has, or
 * the last name before the array it stands in. */
struct parser {
	const char *at;
	void (*number)(void *ctx, const char *name, uint64_t value);
	void *ctx;
};

static void skip_space(struct parser *parser)
{
	parser->at += strspn(parser->at, " \t\r\n");
}

static void expect_char(struct parser *parser, char c)
{
	skip_space(parser);
	assert_int_equal(*parser->at, c);
	parser->at++;
}

static bool next_is(struct parser *parser, char c)
{
	skip_space(parser);
	return *parser->at == c;
}

static void parse_value(struct parser *parser, const char *name);

static void parse_name(struct parser *parser, char *name, size_t size)
{
	size_t len;

	expect_char(parser, '"');
	len = strspn(parser->at, "abcdefghijklmnopqrstuvwxyz_");
	assert_true(len > 0 && len < size);
	memcpy(name, parser->at, len);
	name[len] = '\0';
	parser->at += len;
	assert_int_equal(*parser->at++, '"');
}

static void parse_object(struct parser *parser)
{
	char name[40];

	expect_char(parser, '{');
	while (!next_is(parser, '}')) {
		parse_name(parser, name, sizeof(name));
		expect_char(parser, ':');
		parse_value(parser, name);
		if (next_is(parser, '}'))
			break;
		expect_char(parser, ',');
		assert_false(next_is(parser, '}'));
	}
	expect_char(parser, '}');
}

static void parse_array(struct parser *parser, const char *name)
{
	expect_char(parser, '[');
	while (!next_is(parser, ']')) {
		parse_value(parser, name);
		if (next_is(parser, ']'))
			break;
		expect_char(parser, ',');
		assert_false(next_is(parser, ']'));
	}
	expect_char(parser, ']');
}

static void parse_number(struct parser *parser, const char *name)
{
	char *end;

	assert_true(*parser->at >= '0' && *parser->at <= '9');
	assert_true(*parser->at != '0' || parser->at[1] < '0' || parser->at[1] > '9');
	parser->number(parser->ctx, name, strtoull(parser->at, &end, 10));
	parser->at = end;
}

static void parse_value(struct parser *parser, const char *name)
{
	if (next_is(parser, '{'))
		parse_object(parser);
	else if (next_is(parser, '['))
		parse_array(parser, name);
	else
		parse_number(parser, name);
}

static void parse(const char *text, void (*number)(void *ctx, const char *name, uint64_t value), void *ctx)
{
	struct parser parser = {.at = text, .number = number, .ctx = ctx};

	parse_value(&parser, "");
	skip_space(&parser);
	assert_int_equal(*parser.at, '\0');
}

/* --- what it must say ------------------------------------------------------------------------------------------------ */

struct fact {
	const char *name;
	uint64_t value;
};

struct facts {
	struct fact list[1200];
	size_t nr, next;
};

static void add(struct facts *facts, const char *name, uint64_t value)
{
	assert_true(facts->nr < NR_OF(facts->list));
	facts->list[facts->nr++] = (struct fact){name, value};
}

static void add_superblock(struct facts *facts, const struct tp_thin_superblock *sb)
{
	add(facts, "time", sb->time);
	add(facts, "transaction", sb->transaction_id);
	add(facts, "flags", sb->flags);
	add(facts, "version", sb->version);
	add(facts, "data_block_size", sb->data_block_size);
	add(facts, "nr_data_blocks", sb->data_sm.nr_blocks);
}

static void add_device(struct facts *facts, const struct image_thin *device)
{
	add(facts, "dev_id", device->dev_id);
	add(facts, "mapped_blocks", device->details.mapped_blocks);
	add(facts, "transaction", device->details.transaction_id);
	add(facts, "creation_time", device->details.creation_time);
	add(facts, "snap_time", device->details.snapshotted_time);
	for (size_t i = 0; i < device->nr_runs; i++) {
		add(facts, "mappings", device->runs[i].virtual_begin);
		add(facts, "mappings", device->runs[i].data_begin);
		add(facts, "mappings", device->runs[i].length);
		add(facts, "mappings", device->runs[i].time);
	}
}

static void compare(void *ctx, const char *name, uint64_t value)
{
	struct facts *facts = ctx;

	assert_true(facts->next < facts->nr);
	assert_string_equal(name, facts->list[facts->next].name);
	assert_int_equal(value, facts->list[facts->next].value);
	facts->next++;
}

static void expect_json(const struct image_thin *devices, size_t nr)
{
	const struct thinp_dump_opts opts = {.size = sizeof(opts), .format = THINP_DUMP_JSON};
	struct image_text text = {.text = NULL};
	struct facts facts = {.nr = 0};
	struct image_pool image;
	struct thinp_pool *pool;

	image_pool_open(&image, &(struct tree_shape){.per_leaf = 7}, devices, nr);
	image.sb.transaction_id = UINT64_MAX;
	image.sb.data_sm.nr_blocks = UINT64_C(1) << 40;
	image_pool_write_superblock(&image);
	add_superblock(&facts, &image.sb);
	for (size_t i = 0; i < nr; i++)
		add_device(&facts, &devices[i]);
	assert_int_equal(thinp_pool_open(image.image.io, NULL, &pool), 0);
	assert_int_equal(thinp_dump(pool, &opts, image_text_take, &text), 0);
	parse(text.text, compare, &facts);
	assert_int_equal(facts.next, facts.nr);
	image_text_free(&text);
	thinp_pool_close(pool);
	image_pool_close(&image);
}

static void the_json_of_a_pool_without_devices_is_read_back(void **state)
{
	(void)state;
	expect_json(NULL, 0);
}

static void the_json_of_empty_devices_is_read_back(void **state)
{
	static const struct image_thin devices[] = {{.dev_id = 0}, {.dev_id = 1}, {.dev_id = UINT64_MAX}};

	(void)state;
	for (size_t nr = 1; nr <= NR_OF(devices); nr++)
		expect_json(devices, nr);
}

static void numbers_beyond_those_of_many_parsers_are_written_in_full(void **state)
{
	static const struct thinp_run runs[] = {{UINT64_C(1) << 53, 1, 1, 0, 0},
						{UINT64_C(1) << 63, (UINT64_C(1) << 40) - 1, 1, TP_THIN_MAX_TIME, 0},
						{UINT64_MAX, 0, 1, 1, 0}};
	static const struct image_thin device = {.dev_id = UINT64_MAX,
						 .details = {UINT64_MAX, UINT64_MAX - 1, UINT32_MAX, UINT32_MAX - 1},
						 .runs = runs,
						 .nr_runs = NR_OF(runs)};

	(void)state;
	expect_json(&device, 1);
}

static void the_json_of_random_devices_is_read_back(void **state)
{
	uint64_t rng = random_begin();

	(void)state;
	for (int round = 0; round < 10; round++) {
		struct thinp_run runs[5][40];
		struct image_thin devices[5];

		for (size_t d = 0; d < NR_OF(devices); d++) {
			devices[d] = (struct image_thin){.dev_id = 10 * d + random_next(&rng) % 10,
							 .details = {random_next(&rng), 1, 2, 3},
							 .runs = runs[d],
							 .nr_runs = random_next(&rng) % NR_OF(runs[d])};
			for (size_t i = 0; i < devices[d].nr_runs; i++)
				runs[d][i] = (struct thinp_run){100 * i + random_next(&rng) % 50,
								random_next(&rng) % 900, 1 + random_next(&rng) % 40,
								(uint32_t)(random_next(&rng) % 9), 0};
		}
		expect_json(devices, NR_OF(devices));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_json_of_a_pool_without_devices_is_read_back),
		cmocka_unit_test(the_json_of_empty_devices_is_read_back),
		cmocka_unit_test(numbers_beyond_those_of_many_parsers_are_written_in_full),
		cmocka_unit_test(the_json_of_random_devices_is_read_back),
	};

	return cmocka_run_group_tests_name("check/dump_json", tests, NULL, NULL);
}
