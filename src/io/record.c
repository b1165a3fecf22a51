/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/record.c - the log of all that changes a device.
 *
 * Invariants
 *   1. Entries are in the order of their first tick; they are added and get it under one lock.
 *   2. A block's first content is in the table before the first write to the block goes to the device below. Whoever
 *      reads it from there too late finds it in the table when he wants to put his own.
 */
#include "io/record.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/opts.h"
#include "io/backend.h"

#include <string.h>

#define DEFAULT_MAX_BYTES (UINT64_C(1) << 30)
#define ENTRIES_PER_PIECE (THINP_BLOCK_SIZE / sizeof(struct tp_record_entry))

static_assert(THINP_BLOCK_SIZE % sizeof(struct tp_record_entry) == 0, "a piece is full of entries");

/* --- memory --- */

int tp_record_reserve(struct thinp_record *record, uint64_t nr_bytes)
{
	bool has_room;

	pthread_mutex_lock(&record->lock);
	has_room = nr_bytes <= record->max_bytes - record->nr_bytes;
	if (has_room)
		record->nr_bytes += nr_bytes;
	pthread_mutex_unlock(&record->lock);
	if (has_room)
		return 0;
	return tp_fail(THINP_ENOMEM, THINP_NO_BLOCK, "record: the memory set aside for the log is used up");
}

void tp_record_release(struct thinp_record *record, uint64_t nr_bytes)
{
	pthread_mutex_lock(&record->lock);
	record->nr_bytes -= nr_bytes;
	pthread_mutex_unlock(&record->lock);
}

/* A block of memory that is accounted for. Aligned, so that the device below can fill it. */
static uint8_t *new_block(struct thinp_record *record)
{
	uint8_t *data;

	if (tp_record_reserve(record, THINP_BLOCK_SIZE))
		return NULL;
	data = tp_alloc_aligned(&record->allocator, THINP_BLOCK_SIZE, THINP_BLOCK_SIZE);
	if (!data)
		tp_record_release(record, THINP_BLOCK_SIZE);
	return data;
}

static void free_block(struct thinp_record *record, uint8_t *data)
{
	if (!data)
		return;
	tp_free(&record->allocator, data, THINP_BLOCK_SIZE);
	tp_record_release(record, THINP_BLOCK_SIZE);
}

/* Puts a block into one of the two tables, unless one is there. */
static int put_if_absent(struct thinp_record *record, struct tp_sparse *table, uint64_t number, uint8_t *data)
{
	bool is_absent;

	if (tp_sparse_make_way(table, number)) {
		free_block(record, data);
		return THINP_ENOMEM;
	}
	pthread_mutex_lock(&record->lock);
	is_absent = !tp_sparse_find(table, number);
	if (is_absent)
		tp_sparse_put(table, number, data);
	pthread_mutex_unlock(&record->lock);
	if (!is_absent)
		free_block(record, data);
	return 0;
}

/* --- entries --- */

/* Under the lock. NULL: there is no memory for it yet. */
static struct tp_record_entry *find(struct thinp_record *record, uint64_t index)
{
	struct tp_record_entry *piece = (void *)tp_sparse_find(&record->log, index / ENTRIES_PER_PIECE);

	return piece ? &piece[index % ENTRIES_PER_PIECE] : NULL;
}

const struct tp_record_entry *tp_record_entry(struct thinp_record *record, uint64_t index)
{
	const struct tp_record_entry *found;

	pthread_mutex_lock(&record->lock);
	found = find(record, index);
	pthread_mutex_unlock(&record->lock);
	return found;
}

/* Adds the entry if there is memory for it; else says where memory is wanted. */
static struct tp_record_entry *try_begin(struct thinp_record *record, const struct tp_record_entry *entry,
					 uint64_t *piece)
{
	struct tp_record_entry *added;

	pthread_mutex_lock(&record->lock);
	*piece = record->nr_entries / ENTRIES_PER_PIECE;
	added = find(record, record->nr_entries);
	if (added) {
		*added = *entry;
		added->begun = ++record->clock;
		record->nr_entries++;
	}
	pthread_mutex_unlock(&record->lock);
	return added;
}

int tp_record_begin(struct thinp_record *record, const struct tp_record_entry *entry, struct tp_record_entry **added)
{
	struct tp_record_entry *made;
	uint64_t piece;
	int r = 0;

	while (!r && !(made = try_begin(record, entry, &piece))) {
		uint8_t *data = new_block(record);

		r = data ? put_if_absent(record, &record->log, piece, data) : THINP_ENOMEM;
	}
	if (!r)
		*added = made;
	return r;
}

uint64_t thinp_record_nr_entries(struct thinp_record *record)
{
	uint64_t nr_entries;

	pthread_mutex_lock(&record->lock);
	nr_entries = record->nr_entries;
	pthread_mutex_unlock(&record->lock);
	return nr_entries;
}

static void give_entry(struct thinp_record_entry *dst, const struct tp_record_entry *src)
{
	struct thinp_record_entry entry = {
		.size = sizeof(entry),
		.kind = src->kind,
		.result = src->result,
		.block = src->block,
		.nr_blocks = src->nr_blocks,
		.data = src->data,
		.batch = src->batch,
		.begun = src->begun,
		.ended = src->ended,
		.mark = src->mark,
	};

	tp_result_give(dst, &entry, sizeof(entry));
}

int thinp_record_get_entry(struct thinp_record *record, uint64_t index, struct thinp_record_entry *entry)
{
	bool is_there;

	pthread_mutex_lock(&record->lock);
	is_there = index < record->nr_entries;
	if (is_there)
		give_entry(entry, find(record, index));
	pthread_mutex_unlock(&record->lock);
	if (is_there)
		return 0;
	return tp_fail(THINP_ENODATA, THINP_NO_BLOCK, "record: the log has no such entry");
}

int thinp_record_mark(struct thinp_record *record, uint64_t mark)
{
	const struct tp_record_entry entry = {.kind = THINP_RECORD_MARK, .mark = mark};
	struct tp_record_entry *added;
	int r = tp_record_begin(record, &entry, &added);

	if (r)
		return r;
	pthread_mutex_lock(&record->lock);
	added->ended = ++record->clock;
	pthread_mutex_unlock(&record->lock);
	return 0;
}

/* --- first contents --- */

static bool copy_first(struct thinp_record *record, thinp_block_t block, uint8_t *buffer)
{
	const uint8_t *data;

	pthread_mutex_lock(&record->lock);
	data = tp_sparse_find(&record->first, block);
	if (data && buffer)
		memcpy(buffer, data, THINP_BLOCK_SIZE);
	pthread_mutex_unlock(&record->lock);
	return data;
}

int tp_record_read_first(struct thinp_record *record, thinp_block_t block, uint8_t *buffer)
{
	return copy_first(record, block, buffer) ? 0 : thinp_io_read(record->lower, block, 1, buffer);
}

int tp_record_read_below(void *ctx, thinp_block_t block, uint8_t *buffer)
{
	return tp_record_read_first(ctx, block, buffer);
}

int tp_record_keep_first(struct thinp_record *record, thinp_block_t block)
{
	uint8_t *data;
	int r;

	if (block >= record->first_size || copy_first(record, block, NULL))
		return 0;
	data = new_block(record);
	if (!data)
		return THINP_ENOMEM;
	r = thinp_io_read(record->lower, block, 1, data);
	if (!r)
		return put_if_absent(record, &record->first, block, data);
	free_block(record, data);
	return r;
}

/* --- the log as a whole --- */

static int init_record(struct thinp_record *record, struct thinp_io *lower, uint64_t max_bytes)
{
	int r = thinp_io_size(lower, &record->first_size);
	int err;

	record->lower = lower;
	record->max_bytes = max_bytes ? max_bytes : DEFAULT_MAX_BYTES;
	tp_sparse_init(&record->log, &record->allocator);
	tp_sparse_init(&record->first, &record->allocator);
	if (!r)
		r = tp_sparse_reach(&record->log, TP_IO_MAX_BLOCKS); /* empty, it takes no memory whatever its reach */
	if (!r)
		r = tp_sparse_reach(&record->first, record->first_size);
	if (r)
		return r;
	err = pthread_mutex_init(&record->lock, NULL);
	return err ? tp_fail_os(err, THINP_NO_BLOCK, "record: no lock") : 0;
}

int thinp_record_create(struct thinp_io *lower, const struct thinp_record_opts *opts, struct thinp_record **record)
{
	struct thinp_record_opts taken;
	struct thinp_allocator allocator;
	struct thinp_record *made;
	int r = tp_opts_take(&taken, sizeof(taken), opts);

	if (!r)
		r = tp_allocator_take(&allocator, taken.allocator);
	if (r)
		return r;
	made = tp_alloc_zeroed(&allocator, 1, sizeof(*made));
	if (!made)
		return THINP_ENOMEM;
	made->allocator = allocator;
	r = init_record(made, lower, taken.max_bytes);
	if (r)
		tp_free(&allocator, made, sizeof(*made));
	else
		*record = made;
	return r;
}

void thinp_record_destroy(struct thinp_record *record)
{
	struct thinp_allocator allocator;

	if (!record)
		return;
	for (uint64_t i = 0; i < record->nr_entries; i++) {
		const struct tp_record_entry *entry = find(record, i);

		tp_free(&record->allocator, entry->data, entry->nr_blocks * THINP_BLOCK_SIZE);
	}
	tp_sparse_cut(&record->log, 0);
	tp_sparse_cut(&record->first, 0);
	pthread_mutex_destroy(&record->lock);
	allocator = record->allocator;
	tp_free(&allocator, record, sizeof(*record));
}
