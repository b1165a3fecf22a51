/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/tm_toy.c - the smallest store over a transaction manager.
 */
#include "support/tm_toy.h"

#include "base/bytes.h"
#include "format/kind.h"
#include "support/block_change.h"

#include <thinp/error.h>

#include <stdlib.h>
#include <string.h>

enum { COMMIT_AT = 16, ROOTS_AT = 24, LEAVES_AT = 16 };

static const struct thinp_block_type *kind(void)
{
	return thinp_block_type_bitmap(); /* any will do that leaves what stands behind the header to us */
}

static void put_record(uint8_t *record, const struct tm_toy *toy, uint64_t commit)
{
	memset(record, 0, THINP_BLOCK_SIZE);
	tp_store_le64(record + COMMIT_AT, commit);
	for (unsigned int i = 0; i < TM_TOY_VERSIONS; i++)
		tp_store_le64(record + ROOTS_AT + 8 * i, toy->roots[i]);
}

int tm_toy_format(struct thinp_io *io)
{
	uint8_t *record = aligned_alloc(THINP_BLOCK_SIZE, THINP_BLOCK_SIZE);
	struct tm_toy toy;
	int r;

	if (!record)
		return THINP_ENOMEM;
	for (unsigned int i = 0; i < TM_TOY_VERSIONS; i++)
		toy.roots[i] = THINP_NO_BLOCK;
	put_record(record, &toy, 0);
	tp_block_seal(record, 0, kind());
	r = thinp_io_write(io, 0, 1, record);
	free(record);
	return r ? r : thinp_io_flush(io);
}

/* --- looking --- */

/* A copy, so that no section is open while something else is done. */
static int read_block(struct tm_toy *toy, thinp_block_t block, uint8_t *copy)
{
	struct thinp_read_section section;
	const void *data;
	int r;

	thinp_read_begin(thinp_tm_reader(toy->tm), &section);
	r = thinp_read_block(&section, block, kind(), &data);
	if (!r)
		memcpy(copy, data, THINP_BLOCK_SIZE);
	thinp_read_end(&section);
	return r;
}

static int read_leaves(struct tm_toy *toy, thinp_block_t root, thinp_block_t *leaves)
{
	uint8_t copy[THINP_BLOCK_SIZE];
	int r = read_block(toy, root, copy);

	for (unsigned int i = 0; !r && i < TM_TOY_LEAVES; i++)
		leaves[i] = tp_load_le64(copy + LEAVES_AT + 8 * i);
	return r;
}

static int read_value(struct tm_toy *toy, thinp_block_t leaf, uint64_t *value)
{
	uint8_t copy[THINP_BLOCK_SIZE];
	int r = read_block(toy, leaf, copy);

	if (r)
		return r;
	*value = tp_load_le64(copy + THINP_BLOCK_SIZE - 8);
	memset(copy + THINP_BLOCK_SIZE - 8, 0, 8);
	for (unsigned int at = BLOCK_CHANGE_HEADER; at < THINP_BLOCK_SIZE - 8; at += 8)
		if (tp_load_le64(copy + at) != *value * (at + 1))
			return thinp_error_report(THINP_ECORRUPT, leaf, "a leaf is not whole");
	return 0;
}

static void put_value(uint8_t *data, uint64_t value)
{
	for (unsigned int at = BLOCK_CHANGE_HEADER; at < THINP_BLOCK_SIZE - 8; at += 8)
		tp_store_le64(data + at, value * (at + 1));
	tp_store_le64(data + THINP_BLOCK_SIZE - 8, value);
}

int tm_toy_read(struct tm_toy *toy, struct tm_toy_values *values)
{
	memset(values, 0, sizeof(*values));
	for (unsigned int i = 0; i < TM_TOY_VERSIONS; i++) {
		thinp_block_t leaves[TM_TOY_LEAVES];
		int r;

		if (toy->roots[i] == THINP_NO_BLOCK)
			continue;
		values->exists[i] = true;
		r = read_leaves(toy, toy->roots[i], leaves);
		for (unsigned int k = 0; !r && k < TM_TOY_LEAVES; k++)
			r = read_value(toy, leaves[k], &values->values[i][k]);
		if (r)
			return r;
	}
	return 0;
}

/* How many pointers there are to each block. A root counts its leaves once, however many versions share it. */
static int count_pointers(struct tm_toy *toy, uint32_t *counts, uint64_t nr_blocks)
{
	counts[0] = 1;
	for (unsigned int i = 0; i < TM_TOY_VERSIONS; i++) {
		thinp_block_t leaves[TM_TOY_LEAVES];
		thinp_block_t root = toy->roots[i];
		int r;

		if (root == THINP_NO_BLOCK)
			continue;
		if (root >= nr_blocks)
			return thinp_error_report(THINP_ECORRUPT, root, "a root beyond the end");
		if (counts[root]++)
			continue;
		r = read_leaves(toy, root, leaves);
		if (r)
			return r;
		for (unsigned int k = 0; k < TM_TOY_LEAVES; k++) {
			if (leaves[k] >= nr_blocks)
				return thinp_error_report(THINP_ECORRUPT, root, "a leaf beyond the end");
			counts[leaves[k]]++;
		}
	}
	return 0;
}

static int compare_counts(struct tm_toy *toy, const uint32_t *counts, uint64_t nr_blocks)
{
	for (thinp_block_t block = 0; block < nr_blocks; block++) {
		uint32_t count;
		int r = thinp_tm_count(toy->tm, block, &count);

		if (r)
			return r;
		if (count != counts[block])
			return thinp_error_report(THINP_EREFCOUNT, block, "a count is not the number of pointers");
	}
	return 0;
}

int tm_toy_check_counts(struct tm_toy *toy, uint64_t nr_blocks)
{
	uint32_t *counts = calloc(nr_blocks, sizeof(*counts));
	int r = counts ? count_pointers(toy, counts, nr_blocks) : THINP_ENOMEM;

	if (!r)
		r = compare_counts(toy, counts, nr_blocks);
	free(counts);
	return r;
}

static int raise_counts(struct tm_toy *toy, const uint32_t *counts, uint64_t nr_blocks)
{
	struct thinp_alloc table = {.size = sizeof(table)};
	int r = 0;

	thinp_memory_map_get_alloc(toy->map, &table);
	for (thinp_block_t block = 0; !r && block < nr_blocks; block++)
		for (uint32_t i = 0; !r && i < counts[block]; i++)
			r = table.inc(table.ctx, block, 1, THINP_CAUSE_USER);
	thinp_memory_map_commit(toy->map);
	return r;
}

int tm_toy_open(struct tm_toy *toy)
{
	uint64_t nr_blocks = thinp_reader_nr_blocks(thinp_tm_reader(toy->tm));
	uint32_t *counts = calloc(nr_blocks, sizeof(*counts));
	uint8_t record[THINP_BLOCK_SIZE];
	int r = counts ? read_block(toy, 0, record) : THINP_ENOMEM;

	if (!r) {
		toy->commit = tp_load_le64(record + COMMIT_AT);
		for (unsigned int i = 0; i < TM_TOY_VERSIONS; i++)
			toy->roots[i] = tp_load_le64(record + ROOTS_AT + 8 * i);
		r = count_pointers(toy, counts, nr_blocks);
	}
	if (!r)
		r = raise_counts(toy, counts, nr_blocks);
	free(counts);
	return r;
}

/* --- changing --- */

static int poison_unless(struct tm_toy *toy, int r)
{
	return r ? thinp_tm_poison(toy->tm, r) : 0;
}

static int make_leaves(struct tm_toy *toy, uint8_t *root)
{
	for (unsigned int i = 0; i < TM_TOY_LEAVES; i++) {
		struct thinp_buffer *buffer;
		thinp_block_t leaf;
		void *data;
		int r = thinp_tm_new_block(toy->tm, kind(), THINP_CAUSE_NEW, &leaf, &buffer, &data);

		if (r)
			return r;
		put_value(data, 0);
		thinp_tm_unlock(toy->tm, buffer);
		tp_store_le64(root + LEAVES_AT + 8 * i, leaf);
	}
	return 0;
}

int tm_toy_make(struct tm_toy *toy, unsigned int version)
{
	struct thinp_buffer *buffer;
	thinp_block_t root;
	void *data;
	int r = thinp_tm_new_block(toy->tm, kind(), THINP_CAUSE_NEW, &root, &buffer, &data);

	if (r)
		return r;
	r = make_leaves(toy, data);
	thinp_tm_unlock(toy->tm, buffer);
	if (!r)
		toy->roots[version] = root;
	return poison_unless(toy, r);
}

static int set_leaf(struct tm_toy *toy, uint8_t *root, unsigned int leaf, uint64_t value)
{
	thinp_block_t block = tp_load_le64(root + LEAVES_AT + 8 * leaf);
	struct thinp_buffer *buffer;
	bool inc_children; /* a leaf has none */
	void *data;
	int r = thinp_tm_shadow_block(toy->tm, block, kind(), THINP_CAUSE_SHADOW, &block, &buffer, &data,
				      &inc_children);

	if (r)
		return r;
	put_value(data, value);
	thinp_tm_unlock(toy->tm, buffer);
	tp_store_le64(root + LEAVES_AT + 8 * leaf, block);
	return 0;
}

static int inc_leaves(struct tm_toy *toy, const uint8_t *root)
{
	int r = 0;

	for (unsigned int i = 0; !r && i < TM_TOY_LEAVES; i++)
		r = thinp_tm_inc(toy->tm, tp_load_le64(root + LEAVES_AT + 8 * i), 1, THINP_CAUSE_SHADOW);
	return r;
}

int tm_toy_set(struct tm_toy *toy, unsigned int version, unsigned int leaf, uint64_t value)
{
	struct thinp_buffer *buffer;
	thinp_block_t root;
	bool inc_children;
	void *data;
	int r = thinp_tm_shadow_block(toy->tm, toy->roots[version], kind(), THINP_CAUSE_SHADOW, &root, &buffer, &data,
				      &inc_children);

	if (r)
		return r;
	if (inc_children)
		r = inc_leaves(toy, data);
	if (!r)
		r = set_leaf(toy, data, leaf, value);
	thinp_tm_unlock(toy->tm, buffer);
	if (!r)
		toy->roots[version] = root;
	return poison_unless(toy, r);
}

int tm_toy_snapshot(struct tm_toy *toy, unsigned int from, unsigned int version)
{
	int r = thinp_tm_inc(toy->tm, toy->roots[from], 1, THINP_CAUSE_USER);

	if (!r)
		toy->roots[version] = toy->roots[from];
	return r;
}

static int drop_leaves(struct tm_toy *toy, thinp_block_t root)
{
	thinp_block_t leaves[TM_TOY_LEAVES];
	int r = read_leaves(toy, root, leaves);

	for (unsigned int i = 0; !r && i < TM_TOY_LEAVES; i++)
		r = thinp_tm_dec(toy->tm, leaves[i], 1, THINP_CAUSE_FREE);
	return r;
}

int tm_toy_drop(struct tm_toy *toy, unsigned int version)
{
	thinp_block_t root = toy->roots[version];
	uint32_t count = 0;
	int r = thinp_tm_status(toy->tm);

	if (!r)
		r = thinp_tm_count(toy->tm, root, &count);
	if (r)
		return r;
	if (count == 1)
		r = drop_leaves(toy, root);
	if (!r)
		r = thinp_tm_dec(toy->tm, root, 1, THINP_CAUSE_FREE);
	if (!r)
		toy->roots[version] = THINP_NO_BLOCK;
	return poison_unless(toy, r);
}

int tm_toy_commit(struct tm_toy *toy)
{
	uint8_t record[THINP_BLOCK_SIZE];
	int r = thinp_tm_status(toy->tm);

	put_record(record, toy, toy->commit + 1);
	if (!r)
		r = thinp_bm_commit(toy->bm, 0, kind(), record);
	if (r)
		return r;
	thinp_memory_map_commit(toy->map);
	thinp_tm_begin(toy->tm);
	toy->commit++;
	return 0;
}

void tm_toy_abort(struct tm_toy *toy, const thinp_block_t *committed_roots)
{
	thinp_bm_abort(toy->bm);
	thinp_memory_map_abort(toy->map);
	thinp_tm_begin(toy->tm);
	memcpy(toy->roots, committed_roots, sizeof(toy->roots));
}
