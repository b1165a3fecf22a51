/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/dump_json.c - the dump as JSON.
 *
 * Written as a stream and by hand: a JSON library would build the whole document in memory first, and jansson's
 * integers end at 2^63-1. All values are unsigned numbers and true or false, all names are fixed, so nothing needs
 * escaping.
 */
#include "check/dump_format.h"

struct field {
	const char *name;
	uint64_t value;
};

static char *put_fields(char *at, const struct field *fields, size_t nr_fields)
{
	for (size_t i = 0; i < nr_fields; i++) {
		at = i ? tp_put_literal(at, ", \"") : tp_put_literal(at, "\"");
		at = tp_put_string(at, fields[i].name);
		at = tp_put_literal(at, "\": ");
		at = tp_put_number(at, fields[i].value);
	}
	return at;
}

#define NR_OF(array) (sizeof(array) / sizeof((array)[0]))

static void begin(struct tp_text *text, const struct thinp_pool_info *info)
{
	const struct field fields[] = {
		{"time", info->time},
		{"transaction", info->transaction_id},
		{"flags", info->flags},
		{"version", info->version},
		{"data_block_size", info->data_block_sectors},
		{"nr_data_blocks", info->nr_data_blocks},
	};
	char *at = tp_put_literal(tp_text_line(text), "{\"superblock\": {");

	at = put_fields(at, fields, NR_OF(fields));
	tp_text_took(text, tp_put_literal(at, "},\n \"devices\": ["));
}

static void device_begin(struct tp_text *text, const struct thinp_device_info *device, bool is_first)
{
	const struct field fields[] = {
		{"dev_id", device->dev_id},
		{"mapped_blocks", device->mapped_blocks},
		{"transaction", device->transaction_id},
		{"creation_time", device->creation_time},
		{"snap_time", device->snapshotted_time},
	};
	char *at = tp_text_line(text);

	at = is_first ? tp_put_literal(at, "\n  {") : tp_put_literal(at, ",\n  {");
	at = put_fields(at, fields, NR_OF(fields));
	tp_text_took(text, tp_put_literal(at, ",\n   \"mappings\": ["));
}

static void runs(struct tp_text *text, const struct thinp_run *first, size_t nr_runs, bool is_first)
{
	for (size_t i = 0; i < nr_runs; i++) {
		char *at = tp_text_line(text);

		at = i || !is_first ? tp_put_literal(at, ",\n    [") : tp_put_literal(at, "\n    [");
		at = tp_put_number(at, first[i].virtual_begin);
		at = tp_put_literal(at, ", ");
		at = tp_put_number(at, first[i].data_begin);
		at = tp_put_literal(at, ", ");
		at = tp_put_number(at, first[i].length);
		at = tp_put_literal(at, ", ");
		at = tp_put_number(at, first[i].time);
		tp_text_took(text, tp_put_literal(at, "]"));
	}
}

static void device_end(struct tp_text *text)
{
	tp_text_took(text, tp_put_literal(tp_text_line(text), "]}"));
}

static void end(struct tp_text *text)
{
	tp_text_took(text, tp_put_literal(tp_text_line(text), "]}\n"));
}

const struct tp_dump_format tp_dump_json = {
	.begin = begin, .device_begin = device_begin, .runs = runs, .device_end = device_end, .end = end};
