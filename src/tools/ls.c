/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tools/ls.c - thinp ls: the devices of a pool, in the layout of thin_ls 0.9.0.
 */
#include "command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NR_COLUMNS 4
#define CELL_SIZE  24

struct row {
	char cells[NR_COLUMNS][CELL_SIZE];
};

/* The table is gathered first, because the widest cell decides how wide a column is. */
struct table {
	uint32_t data_block_sectors;
	size_t widths[NR_COLUMNS];
	struct row *rows;
	size_t nr_rows;
	size_t max_rows;
};

/* A size the way thin_ls 0.9.0 writes it: found by giving it thousands of sizes. Down to below 2^20 of a unit without
 * rounding, then one rounded step more if that leaves over 8192. 128 bits hold every product. */
static void format_size(uint64_t blocks, uint32_t block_sectors, char *cell)
{
	static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"};
	__extension__ typedef unsigned __int128 wide;
	wide size = (wide)blocks * block_sectors * 512;
	size_t unit = 0;

	for (; size >> 20; unit++)
		size /= 1024;
	if (size > 8192) {
		size = (size + 512) / 1024;
		unit++;
	}
	snprintf(cell, CELL_SIZE, "%u%s", (unsigned)size, units[unit]);
}

static struct row *add_row(struct table *table)
{
	if (table->nr_rows == table->max_rows) {
		size_t more = table->max_rows ? 2 * table->max_rows : 64;
		struct row *rows = realloc(table->rows, more * sizeof(*rows));

		if (!rows)
			return NULL;
		table->rows = rows;
		table->max_rows = more;
	}
	return &table->rows[table->nr_rows++];
}

static void widen(struct table *table, const struct row *row)
{
	for (size_t i = 0; i < NR_COLUMNS; i++)
		if (strlen(row->cells[i]) > table->widths[i])
			table->widths[i] = strlen(row->cells[i]);
}

static int add_device(void *ctx, const struct thinp_device_info *device)
{
	struct table *table = ctx;
	struct row *row = add_row(table);

	if (!row)
		return THINP_ENOMEM;
	snprintf(row->cells[0], CELL_SIZE, "%" PRIu64, device->dev_id);
	format_size(device->mapped_blocks, table->data_block_sectors, row->cells[1]);
	snprintf(row->cells[2], CELL_SIZE, "%" PRIu32, device->creation_time);
	snprintf(row->cells[3], CELL_SIZE, "%" PRIu32, device->snapshotted_time);
	widen(table, row);
	return 0;
}

static void print_row(const struct table *table, const struct row *row)
{
	for (size_t i = 0; i < NR_COLUMNS; i++)
		printf("%*s ", (int)table->widths[i], row->cells[i]);
	putchar('\n');
}

static int show_table(const struct command *command, const char *path, struct pool_handle *handle, bool headers)
{
	static const struct row header = {{"DEV", "MAPPED", "CREATE_TIME", "SNAP_TIME"}};
	struct thinp_pool_info info = {.size = sizeof(info)};
	struct table table = {.nr_rows = 0};
	int r;

	thinp_pool_get_info(handle->pool, &info);
	table.data_block_sectors = info.data_block_sectors;
	if (headers)
		widen(&table, &header);
	r = thinp_pool_walk_devices(handle->pool, add_device, &table);
	if (r) {
		free(table.rows);
		return report(command, path, r);
	}
	if (headers)
		print_row(&table, &header);
	for (size_t i = 0; i < table.nr_rows; i++)
		print_row(&table, &table.rows[i]);
	free(table.rows);
	return finish_output(command);
}

static int add_json(void *ctx, const struct thinp_device_info *device)
{
	json_t *entry = json_pack(
		"{s:o, s:o, s:o, s:o, s:o}", "dev_id", json_number(device->dev_id), "mapped_blocks",
		json_number(device->mapped_blocks), "transaction", json_number(device->transaction_id), "creation_time",
		json_number(device->creation_time), "snap_time", json_number(device->snapshotted_time));

	return json_array_append_new(ctx, entry) ? THINP_ENOMEM : 0;
}

static int show_json(const struct command *command, const char *path, struct pool_handle *handle)
{
	json_t *devices = json_array();
	int r = thinp_pool_walk_devices(handle->pool, add_json, devices);

	if (r) {
		json_decref(devices);
		return report(command, path, r);
	}
	return print_json(command, devices);
}

int run_ls(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'},
						{"metadata-snap", no_argument, NULL, 'm'},
						{"no-headers", no_argument, NULL, 'n'},
						{"help", no_argument, NULL, 'h'},
						{NULL, 0, NULL, 0}};
	struct pool_args args = {.metadata_snap = false};
	struct pool_handle handle;
	bool headers = true;
	bool json = false;
	int option;
	int status;

	while ((option = getopt_long(argc, argv, "mh", options, NULL)) != -1)
		switch (option) {
		case 'j':
			json = true;
			break;
		case 'm':
			args.metadata_snap = true;
			break;
		case 'n':
			headers = false;
			break;
		case 'h':
			return print_help(command);
		default:
			return usage_error(command, "wrong option");
		}
	status = open_pool(command, argc, argv, &args, &handle);
	if (status)
		return status;
	status = json ? show_json(command, argv[optind], &handle) : show_table(command, argv[optind], &handle, headers);
	close_pool(&handle);
	return status;
}

const struct command ls_command = {
	.name = "ls",
	.summary = "the thin devices of a pool",
	.help = "[OPTION]... POOL\n\n"
		"Lists the thin devices of a pool: id, mapped size, and the snapshot clock when the device was\n"
		"created and last snapshotted.\n\n"
		"      --json           as JSON; numbers of 2^63 and more are strings\n"
		"      --no-headers     without the line of headers\n"
		"  -m, --metadata-snap  of the pool's metadata snapshot\n"
		"  -h, --help           show this and end\n",
	.run = run_ls,
};
