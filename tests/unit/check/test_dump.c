/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The text of a dump, byte for byte. XML and the readable form are those of thin_dump 0.9.0.
 */
#include "support/image_expect.h"
#include "support/image_pool.h"
#include "support/image_text.h"

#include <thinp/dump.h>

#include <stdio.h>
#include <stdlib.h>

#define NR_OF(array) (sizeof(array) / sizeof((array)[0]))

static const struct tree_shape shapes[] = {{.per_leaf = 0}, {.per_leaf = 2, .per_node = 3}};

static const struct thinp_run some_runs[] = {
	{0, 0, 20, 0, 0}, {20, 100, 50, 1, 0}, {70, 70, 1, 0, 0}, {72, 72, 1, 0, 0}};
static const struct thinp_run one_run[] = {{5, 7, 1, 3, 0}};
static const struct image_thin devices[] = {
	{.dev_id = 0, .details = {72, 4, 0, 1}, .runs = some_runs, .nr_runs = NR_OF(some_runs)},
	{.dev_id = 3, .details = {0, 5, 1, 1}}, /* empty */
	{.dev_id = 9, .details = {1, 6, 2, 3}, .runs = one_run, .nr_runs = 1},
};

/* --- the pool above, in three forms ---------------------------------------------------------------------------------- */

static const char xml_begin[] = "<superblock uuid=\"\" time=\"7\" transaction=\"11\" flags=\"0\" version=\"2\" "
				"data_block_size=\"128\" nr_data_blocks=\"1000\">\n";
static const char xml_0[] =
	"  <device dev_id=\"0\" mapped_blocks=\"72\" transaction=\"4\" creation_time=\"0\" snap_time=\"1\">\n";
static const char xml_0_runs[] =
	"    <range_mapping origin_begin=\"0\" data_begin=\"0\" length=\"20\" time=\"0\"/>\n"
	"    <range_mapping origin_begin=\"20\" data_begin=\"100\" length=\"50\" time=\"1\"/>\n"
	"    <single_mapping origin_block=\"70\" data_block=\"70\" time=\"0\"/>\n"
	"    <single_mapping origin_block=\"72\" data_block=\"72\" time=\"0\"/>\n";
static const char xml_3[] =
	"  <device dev_id=\"3\" mapped_blocks=\"0\" transaction=\"5\" creation_time=\"1\" snap_time=\"1\">\n";
static const char xml_9[] =
	"  <device dev_id=\"9\" mapped_blocks=\"1\" transaction=\"6\" creation_time=\"2\" snap_time=\"3\">\n";
static const char xml_9_runs[] = "    <single_mapping origin_block=\"5\" data_block=\"7\" time=\"3\"/>\n";
static const char xml_device_end[] = "  </device>\n";
static const char xml_end[] = "</superblock>\n";

static const char human_begin[] = "begin superblock: \"\", 7, 11, 0, 2, 128, 1000\n";
static const char human_0[] = "device: 0\nmapped_blocks: 72\ntransaction: 4\ncreation time: 0\nsnap time: 1\n";
static const char human_0_runs[] = "    (0..19) -> (0..19), 0\n"
				   "    (20..69) -> (100..149), 1\n"
				   "    70 -> 70, 0\n"
				   "    72 -> 72, 0\n";
static const char human_3[] = "device: 3\nmapped_blocks: 0\ntransaction: 5\ncreation time: 1\nsnap time: 1\n";
static const char human_9[] = "device: 9\nmapped_blocks: 1\ntransaction: 6\ncreation time: 2\nsnap time: 3\n";
static const char human_9_runs[] = "    5 -> 7, 3\n";
static const char human_device_end[] = "\n";
static const char human_end[] = "end superblock\n";

static const char json_begin[] = "{\"superblock\": {\"time\": 7, \"transaction\": 11, \"flags\": 0, \"version\": 2, "
				 "\"data_block_size\": 128, \"nr_data_blocks\": 1000},\n \"devices\": [";
static const char json_0[] = "\n  {\"dev_id\": 0, \"mapped_blocks\": 72, \"transaction\": 4, \"creation_time\": 0, "
			     "\"snap_time\": 1,\n   \"mappings\": [";
static const char json_0_runs[] =
	"\n    [0, 0, 20, 0],\n    [20, 100, 50, 1],\n    [70, 70, 1, 0],\n    [72, 72, 1, 0]";
static const char json_3[] = "\n  {\"dev_id\": 3, \"mapped_blocks\": 0, \"transaction\": 5, \"creation_time\": 1, "
			     "\"snap_time\": 1,\n   \"mappings\": [";
static const char json_9[] = "\n  {\"dev_id\": 9, \"mapped_blocks\": 1, \"transaction\": 6, \"creation_time\": 2, "
			     "\"snap_time\": 3,\n   \"mappings\": [";
static const char json_9_runs[] = "\n    [5, 7, 1, 3]";
static const char json_device_end[] = "]}";
static const char json_between[] = ",";
static const char json_end[] = "]}\n";

/* The pieces that a form is made of; device i is the i-th of `devices`. */
struct form {
	uint32_t format;
	const char *begin, *device[3], *runs[3], *device_end, *between, *end;
};

static const struct form forms[] = {
	{THINP_DUMP_XML, xml_begin, {xml_0, xml_3, xml_9}, {xml_0_runs, "", xml_9_runs}, xml_device_end, "", xml_end},
	{THINP_DUMP_HUMAN_READABLE,
	 human_begin,
	 {human_0, human_3, human_9},
	 {human_0_runs, "", human_9_runs},
	 human_device_end,
	 "",
	 human_end},
	{THINP_DUMP_JSON,
	 json_begin,
	 {json_0, json_3, json_9},
	 {json_0_runs, "", json_9_runs},
	 json_device_end,
	 json_between,
	 json_end},
};

/* wanted: bit i stands for the i-th device. */
static void compose(const struct form *form, unsigned int wanted, bool with_runs, char *text, size_t size)
{
	size_t len = (size_t)snprintf(text, size, "%s", form->begin);
	const char *between = "";

	for (size_t i = 0; i < NR_OF(form->device); i++) {
		if (!(wanted & 1u << i))
			continue;
		len += (size_t)snprintf(text + len, size - len, "%s%s%s%s", between, form->device[i],
					with_runs ? form->runs[i] : "", form->device_end);
		between = form->between;
	}
	snprintf(text + len, size - len, "%s", form->end);
}

static void expect_dump(struct thinp_pool *pool, const struct thinp_dump_opts *opts, const char *expected)
{
	struct image_text text = {.text = NULL};

	assert_int_equal(thinp_dump(pool, opts, image_text_take, &text), 0);
	assert_string_equal(text.text, expected);
	image_text_free(&text);
}

static struct thinp_pool *open_pool(struct image_pool *image, const struct tree_shape *shape, size_t nr_devices)
{
	struct thinp_pool *pool;

	image_pool_open(image, shape, devices, nr_devices);
	assert_int_equal(thinp_pool_open(image->image.io, NULL, &pool), 0);
	return pool;
}

static void TOOL_23_a_pool_is_written_byte_for_byte_in_every_form(void **state)
{
	struct image_pool image;

	(void)state;
	for (size_t s = 0; s < NR_OF(shapes); s++)
		for (size_t f = 0; f < NR_OF(forms); f++)
			for (unsigned int nr = 0; nr <= NR_OF(devices); nr++) {
				const struct thinp_dump_opts opts = {.size = sizeof(opts), .format = forms[f].format};
				struct thinp_pool *pool = open_pool(&image, &shapes[s], nr);
				char expected[4096];

				compose(&forms[f], (1u << nr) - 1, true, expected, sizeof(expected));
				expect_dump(pool, &opts, expected);
				thinp_pool_close(pool);
				image_pool_close(&image);
			}
}

static void without_options_everything_is_written_as_xml(void **state)
{
	struct image_pool image;
	struct thinp_pool *pool = open_pool(&image, &shapes[0], NR_OF(devices));
	char expected[4096];

	(void)state;
	compose(&forms[0], 7, true, expected, sizeof(expected));
	expect_dump(pool, NULL, expected);
	thinp_pool_close(pool);
	image_pool_close(&image);
}

static void TOOL_08_a_pool_without_devices_is_written(void **state)
{
	struct image_pool image;
	struct thinp_pool *pool = open_pool(&image, &shapes[0], 0);
	char expected[4096];

	(void)state;
	snprintf(expected, sizeof(expected), "%s%s", xml_begin, xml_end);
	expect_dump(pool, NULL, expected);
	thinp_pool_close(pool);
	image_pool_close(&image);
}

static void mappings_can_be_left_out(void **state)
{
	struct image_pool image;
	struct thinp_pool *pool = open_pool(&image, &shapes[0], NR_OF(devices));

	(void)state;
	for (size_t f = 0; f < NR_OF(forms); f++) {
		const struct thinp_dump_opts opts = {
			.size = sizeof(opts), .format = forms[f].format, .flags = THINP_DUMP_SKIP_MAPPINGS};
		char expected[4096];

		compose(&forms[f], 7, false, expected, sizeof(expected));
		expect_dump(pool, &opts, expected);
	}
	thinp_pool_close(pool);
	image_pool_close(&image);
}

/* --- chosen devices -------------------------------------------------------------------------------------------------- */

struct choice {
	uint64_t ids[6];
	size_t nr;
	unsigned int wanted;
};

static void chosen_devices_are_written_in_order_however_they_are_named(void **state)
{
	static const struct choice choices[] = {
		{{0}, 1, 1},
		{{3}, 1, 2},
		{{9, 0}, 2, 5},
		{{9, 3, 0}, 3, 7},
		{{3, 3, 3}, 3, 2},
		{{9, 1, 9, 2}, 4, 4},
		{{1}, 1, 0},
		{{UINT64_MAX, 1, 2, 4}, 4, 0},
		{{UINT64_MAX, 9, 8, 10, 0, 3}, 6, 7},
	};
	struct image_pool image;
	struct thinp_pool *pool = open_pool(&image, &shapes[1], NR_OF(devices));

	(void)state;
	for (size_t f = 0; f < NR_OF(forms); f++)
		for (size_t c = 0; c < NR_OF(choices); c++) {
			const struct thinp_dump_opts opts = {.size = sizeof(opts),
							     .format = forms[f].format,
							     .dev_ids = choices[c].ids,
							     .nr_dev_ids = choices[c].nr};
			char expected[4096];

			compose(&forms[f], choices[c].wanted, true, expected, sizeof(expected));
			expect_dump(pool, &opts, expected);
		}
	thinp_pool_close(pool);
	image_pool_close(&image);
}

/* --- the metadata snapshot ------------------------------------------------------------------------------------------- */

/* thin_dump takes the size of the data device from the space map, which a snapshot does not have. */
static void TOOL_07_a_snapshot_has_no_data_blocks_where_0_9_0_says_so(void **state)
{
	static const char *const lines[] = {
		[THINP_DUMP_XML] = "data_block_size=\"128\" nr_data_blocks=\"0\">\n",
		[THINP_DUMP_HUMAN_READABLE] = "begin superblock: \"\", 7, 11, 0, 2, 128, 0\n",
		[THINP_DUMP_JSON] = "\"nr_data_blocks\": 1000}",
	};
	const struct thinp_pool_opts pool_opts = {.size = sizeof(pool_opts), .flags = THINP_POOL_METADATA_SNAP};
	struct image_pool image;
	struct thinp_pool *pool;

	(void)state;
	image_pool_open(&image, &shapes[0], devices, 1);
	image_pool_snap(&image, devices + 2, 1);
	assert_int_equal(thinp_pool_open(image.image.io, &pool_opts, &pool), 0);
	for (uint32_t format = 0; format < NR_OF(lines); format++) {
		const struct thinp_dump_opts opts = {.size = sizeof(opts), .format = format};
		struct image_text text = {.text = NULL};

		assert_int_equal(thinp_dump(pool, &opts, image_text_take, &text), 0);
		assert_non_null(strstr(text.text, lines[format]));
		assert_non_null(strstr(text.text, forms[format].device[2]));
		assert_non_null(strstr(text.text, forms[format].runs[2]));
		assert_null(strstr(text.text, forms[format].device[0]));
		image_text_free(&text);
	}
	thinp_pool_close(pool);
	image_pool_close(&image);
}

/* --- numbers --------------------------------------------------------------------------------------------------------- */

/* The longest lines that there can be. */
static void the_largest_numbers_of_every_field_are_written_in_full(void **state)
{
	static const char expected[] =
		"<superblock uuid=\"\" time=\"16777215\" transaction=\"18446744073709551615\" flags=\"4294967295\" "
		"version=\"4294967295\" data_block_size=\"4294967295\" nr_data_blocks=\"1099511627776\">\n"
		"  <device dev_id=\"18446744073709551615\" mapped_blocks=\"18446744073709551615\" "
		"transaction=\"18446744073709551615\" creation_time=\"4294967295\" snap_time=\"4294967295\">\n"
		"    <single_mapping origin_block=\"18446744073709551610\" data_block=\"1099511627775\" "
		"time=\"16777215\"/>\n"
		"    <range_mapping origin_begin=\"18446744073709551613\" data_begin=\"1099511627773\" length=\"3\" "
		"time=\"16777215\"/>\n"
		"  </device>\n"
		"</superblock>\n";
	static const struct thinp_run runs[] = {
		{UINT64_MAX - 5, (UINT64_C(1) << 40) - 1, 1, TP_THIN_MAX_TIME, 0},
		{UINT64_MAX - 2, (UINT64_C(1) << 40) - 3, 3, TP_THIN_MAX_TIME, 0},
	};
	static const struct image_thin device = {.dev_id = UINT64_MAX,
						 .details = {UINT64_MAX, UINT64_MAX, UINT32_MAX, UINT32_MAX},
						 .runs = runs,
						 .nr_runs = 2};
	struct image_pool image;
	struct thinp_pool *pool;

	(void)state;
	image_pool_open(&image, &shapes[0], &device, 1);
	image.sb.time = TP_THIN_MAX_TIME;
	image.sb.transaction_id = UINT64_MAX;
	image.sb.flags = image.sb.version = image.sb.data_block_size = UINT32_MAX;
	image.sb.data_sm.nr_blocks = UINT64_C(1) << 40;
	image_pool_write_superblock(&image);
	assert_int_equal(thinp_pool_open(image.image.io, NULL, &pool), 0);
	expect_dump(pool, NULL, expected);
	for (uint32_t format = 1; format <= 2; format++) {
		const struct thinp_dump_opts opts = {.size = sizeof(opts), .format = format};
		struct image_text text = {.text = NULL};

		assert_int_equal(thinp_dump(pool, &opts, image_text_take, &text), 0);
		assert_non_null(strstr(text.text, "18446744073709551613"));
		assert_non_null(strstr(text.text, format == 1 ? "(1099511627773..1099511627775), 16777215\n"
							      : ", 1099511627773, 3, 16777215]]}]}\n"));
		image_text_free(&text);
	}
	thinp_pool_close(pool);
	image_pool_close(&image);
}

/* Runs enough for many pieces of text, each of them checked. */
static void a_large_device_is_written_in_pieces_that_fit_together(void **state)
{
	enum { NR = 3000 };
	struct thinp_run *runs = calloc(NR, sizeof(*runs));
	struct image_thin device = {.dev_id = 1, .details = {NR, 0, 0, 0}, .runs = runs, .nr_runs = NR};
	struct image_text text = {.text = NULL};
	struct image_pool image;
	struct thinp_pool *pool;
	const char *at;

	(void)state;
	assert_non_null(runs);
	for (uint64_t i = 0; i < NR; i++)
		runs[i] = (struct thinp_run){2 * i, i * 7 % 1000, 1, 3, 0};
	image_pool_open(&image, &shapes[0], &device, 1);
	assert_int_equal(thinp_pool_open(image.image.io, NULL, &pool), 0);
	assert_int_equal(thinp_dump(pool, NULL, image_text_take, &text), 0);
	assert_true(text.nr_calls > 3);
	at = strstr(text.text, "    <single");
	assert_non_null(at);
	for (uint64_t i = 0; i < NR; i++) {
		char line[100];
		int len = snprintf(line, sizeof(line),
				   "    <single_mapping origin_block=\"%llu\" data_block=\"%llu\" time=\"3\"/>\n",
				   (unsigned long long)(2 * i), (unsigned long long)(i * 7 % 1000));

		assert_memory_equal(at, line, (size_t)len);
		at += len;
	}
	assert_string_equal(at, "  </device>\n</superblock>\n");
	image_text_free(&text);
	thinp_pool_close(pool);
	image_pool_close(&image);
	free(runs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(TOOL_23_a_pool_is_written_byte_for_byte_in_every_form),
		cmocka_unit_test(without_options_everything_is_written_as_xml),
		cmocka_unit_test(TOOL_08_a_pool_without_devices_is_written),
		cmocka_unit_test(mappings_can_be_left_out),
		cmocka_unit_test(chosen_devices_are_written_in_order_however_they_are_named),
		cmocka_unit_test(TOOL_07_a_snapshot_has_no_data_blocks_where_0_9_0_says_so),
		cmocka_unit_test(the_largest_numbers_of_every_field_are_written_in_full),
		cmocka_unit_test(a_large_device_is_written_in_pieces_that_fit_together),
	};

	return cmocka_run_group_tests_name("check/dump", tests, NULL, NULL);
}
