/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * integration/failures/kit.c - the kit for tests: devices that misbehave, devices that keep a log, states of a crash.
 */
#include "failures.h"

#include <thinp/crash.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- fault --- */

static int use_rules(struct thinp_fault *fault)
{
	struct thinp_fault_rule rule = {.size = sizeof(rule), .kinds = THINP_FAULT_ON_READ, .nth = 1};
	uint64_t matched;
	uint64_t fired;
	uint64_t id;
	int r = thinp_fault_add(fault, &rule, &id);

	if (!r)
		r = thinp_fault_fail_nth(fault, THINP_IO_READ, 1000, THINP_EIO, NULL);
	if (!r)
		r = thinp_fault_get_counts(fault, id, &matched, &fired);
	return r;
}

static int use_volatile(struct thinp_fault *fault, struct thinp_io *io)
{
	uint8_t *blocks = world_blocks(3);
	thinp_block_t survivor = 1;
	int r = 0;

	for (thinp_block_t block = 0; block < 9 && !r; block += 3)
		r = thinp_io_write(io, block, 3, blocks);
	if (!r)
		r = thinp_io_read(io, 100, 3, blocks);
	if (!r)
		r = thinp_io_flush(io);
	if (!r)
		r = thinp_io_write(io, 0, 3, blocks);
	if (!r)
		r = thinp_fault_power_cut(fault, &survivor, 1);
	free(blocks);
	return r;
}

static int use_fault(struct world *w)
{
	struct thinp_fault_opts opts = {.size = sizeof(opts),
					.flags = THINP_FAULT_VOLATILE_CACHE,
					.cache_blocks = 4,
					.allocator = &w->alloc.table};
	struct thinp_io_opts io_opts = {.size = sizeof(io_opts), .allocator = &w->alloc.table};
	struct thinp_fault *fault = NULL;
	struct thinp_io *io = NULL;
	int r = thinp_fault_create(w->io, &opts, &fault);

	if (!r)
		r = thinp_fault_open(fault, &io_opts, &io);
	if (!r)
		r = use_rules(fault);
	if (!r)
		r = use_volatile(fault, io);
	thinp_io_close(io);
	thinp_fault_destroy(fault);
	return r;
}

static const struct scenario fault = {.name = "a device that misbehaves", .attempt = use_fault};

/* --- record --- */

static int write_log(struct thinp_record *record, struct thinp_io *io)
{
	uint8_t *block = world_blocks(1);
	int r = 0;

	for (thinp_block_t at = 0; at < 4 && !r; at++) {
		memset(block, (int)at + 1, 4096);
		r = thinp_io_write(io, at, 1, block);
	}
	if (!r)
		r = thinp_io_flush(io);
	if (!r)
		r = thinp_record_mark(record, 1);
	if (!r)
		r = thinp_io_write(io, 2, 1, block);
	free(block);
	return r;
}

/* As after all of the log: block 2 is what was written last. */
static int read_rebuilt(struct thinp_record *record)
{
	struct thinp_io *io = NULL;
	uint8_t *block = world_blocks(1);
	int r = thinp_record_rebuild(record, UINT64_MAX, NULL, 0, &io);

	if (!r)
		r = thinp_io_read(io, 2, 1, block);
	if (!r)
		assert_int_equal(block[0], 4);
	if (!r)
		r = thinp_io_read(io, 100, 1, block);
	thinp_io_close(io);
	free(block);
	return r;
}

static int use_record(struct world *w)
{
	struct thinp_record_opts opts = {.size = sizeof(opts), .allocator = &w->alloc.table};
	struct thinp_io_opts io_opts = {.size = sizeof(io_opts), .allocator = &w->alloc.table};
	struct thinp_record_entry entry = {.size = sizeof(entry)};
	struct thinp_record *record = NULL;
	struct thinp_io *io = NULL;
	int r = thinp_record_create(w->io, &opts, &record);

	if (!r)
		r = thinp_record_open(record, &io_opts, &io);
	if (!r)
		r = write_log(record, io);
	if (!r)
		r = thinp_record_get_entry(record, 0, &entry);
	if (!r)
		r = read_rebuilt(record);
	thinp_io_close(io);
	thinp_record_destroy(record);
	return r;
}

static const struct scenario record = {.name = "a device that keeps a log", .attempt = use_record};

/* --- crash --- */

struct logged {
	struct thinp_record *record;
	struct thinp_io *io;
	struct thinp_crash *crash; /* for moving about */
};

static void make_log(struct world *w)
{
	struct logged *logged = calloc(1, sizeof(*logged));
	struct thinp_crash_opts opts = {.size = sizeof(opts), .allocator = &w->alloc.table};

	assert_non_null(logged);
	assert_int_equal(thinp_record_create(w->io, NULL, &logged->record), 0);
	assert_int_equal(thinp_record_open(logged->record, NULL, &logged->io), 0);
	assert_int_equal(write_log(logged->record, logged->io), 0);
	assert_int_equal(thinp_crash_create(logged->record, &opts, &logged->crash), 0);
	w->own = logged;
}

static void remove_log(struct world *w)
{
	struct logged *logged = w->own;

	thinp_crash_destroy(logged->crash);
	thinp_io_close(logged->io);
	thinp_record_destroy(logged->record);
	free(logged);
}

static int check(void *ctx, struct thinp_io *io, const struct thinp_crash_state *state)
{
	uint8_t *block = ctx;
	int r = thinp_io_read(io, 2, 1, block);

	(void)state;
	return r ? r : thinp_io_write(io, 100, 1, block);
}

/* All of an iterator's life. */
static int go_through(struct world *w)
{
	const struct logged *logged = w->own;
	struct thinp_crash_opts opts = {.size = sizeof(opts), .allocator = &w->alloc.table};
	struct thinp_crash *crash = NULL;
	void *block = world_blocks(1);
	int r = thinp_crash_create(logged->record, &opts, &crash);

	if (!r)
		r = thinp_crash_run(crash, check, block);
	thinp_crash_destroy(crash);
	free(block);
	return r;
}

/* One that was moved in vain can be moved again. */
static int move(struct world *w)
{
	const struct logged *logged = w->own;
	struct thinp_crash_state state = {.size = sizeof(state)};
	struct thinp_crash_piece piece = {.size = sizeof(piece)};
	void *block = world_blocks(1);
	struct thinp_io *io;
	int r = thinp_crash_seek(logged->crash, 17, &io);

	if (!r)
		r = thinp_crash_next(logged->crash, &io);
	if (!r)
		r = thinp_io_read(io, 2, 1, block);
	if (!r)
		r = thinp_crash_get_state(logged->crash, &state);
	if (!r)
		r = thinp_crash_get_piece(logged->crash, 0, &piece);
	if (!r)
		assert_int_equal(state.number, 18);
	free(block);
	return r;
}

static const struct scenario through = {
	.name = "every state of a crash", .setup = make_log, .attempt = go_through, .close = remove_log};
static const struct scenario states = {
	.name = "an iterator that is moved about", .setup = make_log, .attempt = move, .close = remove_log};

const struct covered failures_of_kit[] = {
	{"thinp_fault_create", &fault},      {"thinp_fault_open", &fault},       {"thinp_fault_add", &fault},
	{"thinp_fault_fail_nth", &fault},    {"thinp_fault_get_counts", &fault}, {"thinp_fault_power_cut", &fault},
	{"thinp_record_create", &record},    {"thinp_record_open", &record},     {"thinp_record_mark", &record},
	{"thinp_record_get_entry", &record}, {"thinp_record_rebuild", &record},  {"thinp_crash_create", &through},
	{"thinp_crash_run", &through},       {"thinp_crash_next", &states},      {"thinp_crash_seek", &states},
	{"thinp_crash_get_state", &states},  {"thinp_crash_get_piece", &states}, {NULL, NULL},
};
