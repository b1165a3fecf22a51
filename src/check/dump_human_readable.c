/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/dump_human_readable.c - the dump as thin_dump 0.9.0 writes it for people.
 */
#include "check/dump_format.h"

static void begin(struct tp_text *text, const struct thinp_pool_info *info)
{
	const uint64_t numbers[] = {
		info->time,    info->transaction_id,     info->flags,
		info->version, info->data_block_sectors, tp_dump_nr_data_blocks(info),
	};
	char *at = tp_put_literal(tp_text_line(text), "begin superblock: \"\"");

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		at = tp_put_literal(at, ", ");
		at = tp_put_number(at, numbers[i]);
	}
	tp_text_took(text, tp_put_literal(at, "\n"));
}

static void device_begin(struct tp_text *text, const struct thinp_device_info *device, bool is_first)
{
	char *at = tp_text_line(text);

	(void)is_first;
	at = tp_put_literal(at, "device: ");
	at = tp_put_number(at, device->dev_id);
	at = tp_put_literal(at, "\nmapped_blocks: ");
	at = tp_put_number(at, device->mapped_blocks);
	at = tp_put_literal(at, "\ntransaction: ");
	at = tp_put_number(at, device->transaction_id);
	at = tp_put_literal(at, "\ncreation time: ");
	at = tp_put_number(at, device->creation_time);
	at = tp_put_literal(at, "\nsnap time: ");
	at = tp_put_number(at, device->snapshotted_time);
	tp_text_took(text, tp_put_literal(at, "\n"));
}

/* A block alone, or the first and the last of several in parentheses. */
static char *put_blocks(char *at, uint64_t block, uint64_t length)
{
	if (length == 1)
		return tp_put_number(at, block);
	at = tp_put_literal(at, "(");
	at = tp_put_number(at, block);
	at = tp_put_literal(at, "..");
	at = tp_put_number(at, block + length - 1);
	return tp_put_literal(at, ")");
}

static char *put_run(char *at, const struct thinp_run *run)
{
	at = tp_put_literal(at, "    ");
	at = put_blocks(at, run->virtual_begin, run->length);
	at = tp_put_literal(at, " -> ");
	at = put_blocks(at, run->data_begin, run->length);
	at = tp_put_literal(at, ", ");
	at = tp_put_number(at, run->time);
	return tp_put_literal(at, "\n");
}

static void runs(struct tp_text *text, const struct thinp_run *first, size_t nr_runs, bool is_first)
{
	(void)is_first;
	for (size_t i = 0; i < nr_runs; i++)
		tp_text_took(text, put_run(tp_text_line(text), &first[i]));
}

static void device_end(struct tp_text *text)
{
	tp_text_took(text, tp_put_literal(tp_text_line(text), "\n"));
}

static void end(struct tp_text *text)
{
	tp_text_took(text, tp_put_literal(tp_text_line(text), "end superblock\n"));
}

const struct tp_dump_format tp_dump_human_readable = {
	.begin = begin, .device_begin = device_begin, .runs = runs, .device_end = device_end, .end = end};
