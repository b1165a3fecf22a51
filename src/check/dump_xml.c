/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/dump_xml.c - the dump as thin_dump 0.9.0 writes it in XML. Nothing needs escaping: all values are numbers.
 */
#include "check/dump_format.h"

static void begin(struct tp_text *text, const struct thinp_pool_info *info)
{
	char *at = tp_text_line(text);

	at = tp_put_literal(at, "<superblock uuid=\"\" time=\"");
	at = tp_put_number(at, info->time);
	at = tp_put_literal(at, "\" transaction=\"");
	at = tp_put_number(at, info->transaction_id);
	at = tp_put_literal(at, "\" flags=\"");
	at = tp_put_number(at, info->flags);
	at = tp_put_literal(at, "\" version=\"");
	at = tp_put_number(at, info->version);
	at = tp_put_literal(at, "\" data_block_size=\"");
	at = tp_put_number(at, info->data_block_sectors);
	at = tp_put_literal(at, "\" nr_data_blocks=\"");
	at = tp_put_number(at, tp_dump_nr_data_blocks(info));
	at = tp_put_literal(at, "\">\n");
	tp_text_took(text, at);
}

static void device_begin(struct tp_text *text, const struct thinp_device_info *device, bool is_first)
{
	char *at = tp_text_line(text);

	(void)is_first;
	at = tp_put_literal(at, "  <device dev_id=\"");
	at = tp_put_number(at, device->dev_id);
	at = tp_put_literal(at, "\" mapped_blocks=\"");
	at = tp_put_number(at, device->mapped_blocks);
	at = tp_put_literal(at, "\" transaction=\"");
	at = tp_put_number(at, device->transaction_id);
	at = tp_put_literal(at, "\" creation_time=\"");
	at = tp_put_number(at, device->creation_time);
	at = tp_put_literal(at, "\" snap_time=\"");
	at = tp_put_number(at, device->snapshotted_time);
	at = tp_put_literal(at, "\">\n");
	tp_text_took(text, at);
}

static char *put_run(char *at, const struct thinp_run *run)
{
	if (run->length == 1) {
		at = tp_put_literal(at, "    <single_mapping origin_block=\"");
		at = tp_put_number(at, run->virtual_begin);
		at = tp_put_literal(at, "\" data_block=\"");
		at = tp_put_number(at, run->data_begin);
	} else {
		at = tp_put_literal(at, "    <range_mapping origin_begin=\"");
		at = tp_put_number(at, run->virtual_begin);
		at = tp_put_literal(at, "\" data_begin=\"");
		at = tp_put_number(at, run->data_begin);
		at = tp_put_literal(at, "\" length=\"");
		at = tp_put_number(at, run->length);
	}
	at = tp_put_literal(at, "\" time=\"");
	at = tp_put_number(at, run->time);
	return tp_put_literal(at, "\"/>\n");
}

static void runs(struct tp_text *text, const struct thinp_run *first, size_t nr_runs, bool is_first)
{
	(void)is_first;
	for (size_t i = 0; i < nr_runs; i++)
		tp_text_took(text, put_run(tp_text_line(text), &first[i]));
}

static void device_end(struct tp_text *text)
{
	tp_text_took(text, tp_put_literal(tp_text_line(text), "  </device>\n"));
}

static void end(struct tp_text *text)
{
	tp_text_took(text, tp_put_literal(tp_text_line(text), "</superblock>\n"));
}

const struct tp_dump_format tp_dump_xml = {
	.begin = begin, .device_begin = device_begin, .runs = runs, .device_end = device_end, .end = end};
