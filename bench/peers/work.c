/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * peers/work.c - transactions and look-ups.
 */
#include "work.h"

#include "keys.h"

#include <stdlib.h>

enum { AT_ONCE = 256, KEYS_OF_A_COMMIT = 1000 };

static uint64_t param(struct bench_run *run)
{
	return ((const struct what *)bench_arg(run))->param;
}

static size_t at_most(const struct bed *bed, uint64_t nr)
{
	return nr && nr < bed->nr ? (size_t)nr : bed->nr;
}

/* A key that is there. Without a division, which takes a sixth as long as a look-up among many. */
static uint64_t choose(const struct bed *bed, uint64_t i)
{
	return nth_key((nth_key(~i) >> 32) * bed->nr >> 32);
}

static int commit_after(struct bed *bed, int r)
{
	return r ? r : bed->engine->commit(bed->db);
}

void work_load(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	struct bed *bed = ctx;
	int r = bed->engine->load(bed->db, bed->keys, bed->values, bed->nr);

	(void)nr_times; /* once, like all that change: see the table */
	bed->is_full = !r;
	bed_tell(run, bed, r, bed->nr);
}

void work_insert_ascending(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	struct bed *bed = ctx;
	int r = bed->engine->begin(bed->db);

	(void)nr_times;
	for (size_t i = 0; i < bed->nr && !r; i++)
		r = bed->engine->put(bed->db, i, i);
	bed_tell(run, bed, commit_after(bed, r), bed->nr);
}

static int put_random(struct bed *bed, size_t begin, size_t end, uint64_t value)
{
	int r = 0;

	for (size_t i = begin; i < end && !r; i++)
		r = bed->engine->put(bed->db, nth_key(i), value);
	return r;
}

void work_insert_random(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	struct bed *bed = ctx;
	int r = bed->engine->begin(bed->db);

	(void)nr_times;
	if (!r)
		r = put_random(bed, 0, bed->nr, 1);
	bed_tell(run, bed, commit_after(bed, r), bed->nr);
}

/* The keys come in random order: sorting them is part of the work. */
void work_put_batch(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	struct bed *bed = ctx;
	size_t nr = at_most(bed, param(run));
	int r = bed->engine->begin(bed->db);

	(void)nr_times;
	if (!r)
		r = sort_keys(bed->keys, bed->values, nr);
	if (!r)
		r = bed->engine->put_sorted(bed->db, bed->keys, bed->values, nr);
	bed_tell(run, bed, commit_after(bed, r), nr);
}

void work_overwrite(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	struct bed *bed = ctx;
	size_t nr = at_most(bed, param(run));
	int r = bed->engine->begin(bed->db);

	(void)nr_times;
	if (!r)
		r = put_random(bed, 0, nr, 2);
	bed_tell(run, bed, commit_after(bed, r), nr);
}

void work_remove(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	struct bed *bed = ctx;
	size_t nr = at_most(bed, param(run));
	int r = bed->engine->begin(bed->db);

	(void)nr_times;
	bed->is_full = false;
	for (size_t i = 0; i < nr && !r; i++)
		r = bed->engine->del(bed->db, nth_key(i));
	bed_tell(run, bed, commit_after(bed, r), nr);
}

void work_remove_batch(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	struct bed *bed = ctx;
	size_t nr = at_most(bed, param(run));
	int r = bed->engine->begin(bed->db);

	(void)nr_times;
	bed->is_full = false;
	if (!r)
		r = sort_keys(bed->keys, bed->values, nr);
	if (!r)
		r = bed->engine->del_sorted(bed->db, bed->keys, nr);
	bed_tell(run, bed, commit_after(bed, r), nr);
}

/* --- commits --- */

void work_commits(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	uint64_t nr_updates = param(run), next = 0;
	struct bed *bed = ctx;
	int r = 0;

	for (uint64_t t = 0; t < nr_times && !r; t++) {
		r = bed->engine->begin(bed->db);
		for (uint64_t i = 0; i < nr_updates && !r; i++, next++)
			r = bed->engine->put(bed->db, choose(bed, next), next);
		r = commit_after(bed, r);
	}
	bed_tell(run, bed, r, 1);
}

void work_insert_commits(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	struct bed *bed = ctx;
	size_t next = bed->nr;
	int r = 0;

	bed->is_full = false;
	for (uint64_t t = 0; t < nr_times && !r; t++, next += KEYS_OF_A_COMMIT) {
		r = bed->engine->begin(bed->db);
		if (!r)
			r = put_random(bed, next, next + KEYS_OF_A_COMMIT, 3);
		r = commit_after(bed, r);
	}
	bed_tell(run, bed, r, KEYS_OF_A_COMMIT);
}

/* --- looking --- */

void work_lookup(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	uint64_t nr = param(run), value = 0;
	struct bed *bed = ctx;
	int r = 0;

	(void)nr_times;
	for (uint64_t i = 0; i < nr && !r; i++)
		r = bed->engine->get(bed->look, choose(bed, i), &value);
	bench_keep(value);
	bed_tell(run, bed, r, nr);
}

static int get_many(const struct bed *bed, const uint64_t *keys, size_t nr, uint64_t *values)
{
	int r = 0;

	if (bed->engine->get_many)
		return bed->engine->get_many(bed->look, keys, nr, values);
	for (size_t i = 0; i < nr && !r; i++)
		r = bed->engine->get(bed->look, keys[i], &values[i]);
	return r;
}

void work_lookup_many(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	uint64_t keys[AT_ONCE], values[AT_ONCE], nr = param(run) / AT_ONCE * AT_ONCE;
	struct bed *bed = ctx;
	int r = 0;

	(void)nr_times;
	for (uint64_t i = 0; i < nr && !r; i += AT_ONCE) {
		for (uint64_t k = 0; k < AT_ONCE; k++)
			keys[k] = choose(bed, i + k);
		r = get_many(bed, keys, AT_ONCE, values);
		bench_keep(values[0]);
	}
	bed_tell(run, bed, r, nr);
}

/* From one below a key that is there, so that the entry found has another key than was asked for. */
void work_lookup_ge(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	uint64_t nr = param(run), found = 0, value = 0;
	struct bed *bed = ctx;
	int r = 0;

	(void)nr_times;
	for (uint64_t i = 0; i < nr && !r; i++)
		r = bed->engine->get_ge(bed->look, choose(bed, i) - 1, &found, &value);
	bench_keep(found + value);
	bed_tell(run, bed, r, nr);
}

void work_scan_next(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	struct bed *bed = ctx;
	uint64_t sum = 0;
	int r = 0;

	while (nr_times-- && !r)
		r = bed->engine->scan_next(bed->look, &sum);
	bench_keep(sum);
	bed_tell(run, bed, r, bed->nr);
}

void work_scan_spans(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	struct bed *bed = ctx;
	int (*scan)(void *look, uint64_t *sum) =
		bed->engine->scan_spans ? bed->engine->scan_spans : bed->engine->scan_next;
	uint64_t sum = 0;
	int r = 0;

	while (nr_times-- && !r)
		r = scan(bed->look, &sum);
	bench_keep(sum);
	bed_tell(run, bed, r, bed->nr);
}
