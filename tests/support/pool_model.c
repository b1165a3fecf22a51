/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/pool_model.c - changing a pool and its model, and comparing them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/meta_check.h"
#include "support/pool_model.h"
#include "thin/change.h"

#include <inttypes.h>
#include <string.h>

uint64_t pool_model_random(struct pool_model *m, uint64_t below)
{
	m->rng ^= m->rng << 13;
	m->rng ^= m->rng >> 7;
	m->rng ^= m->rng << 17;
	return (m->rng * UINT64_C(0x2545f4914f6cdd1d) >> 16) % below;
}

static uint64_t place(const struct pool_model *m, uint32_t block)
{
	return block * m->stride;
}

/* --- opening and transactions ---------------------------------------------------------------------------------------- */

void pool_model_open_on(struct pool_model *m, struct thinp_io *io, uint64_t nr_data, const struct thinp_pool_opts *opts)
{
	m->io = io;
	m->opts = *opts;
	m->opts.size = sizeof(m->opts);
	m->opts.flags |= THINP_POOL_WRITABLE | THINP_POOL_CREATE;
	m->opts.nr_data_blocks = nr_data;
	m->stride = 1;
	memset(&m->now, 0, sizeof(m->now));
	m->now.nr_data = nr_data;
	m->committed = m->now;
	assert_int_equal(thinp_pool_open(m->io, &m->opts, &m->pool), 0);
	m->opts.nr_data_blocks = 0;
}

void pool_model_open(struct pool_model *m, uint64_t nr_metadata, uint64_t nr_data, const struct thinp_pool_opts *opts)
{
	const struct thinp_io_opts io_opts = {.size = sizeof(io_opts), .nr_blocks = nr_metadata};
	struct thinp_io *io;

	assert_int_equal(thinp_io_open_memory(&io_opts, &io), 0);
	pool_model_open_on(m, io, nr_data, opts);
}

void pool_model_close(struct pool_model *m)
{
	thinp_pool_close(m->pool);
	thinp_io_close(m->io);
}

void pool_model_begin(struct pool_model *m)
{
	assert_int_equal(thinp_pool_begin(m->pool), 0);
}

void pool_model_commit(struct pool_model *m)
{
	int r = thinp_pool_commit(m->pool);

	if (r) {
		struct thinp_error_info info = {.size = sizeof(info)};

		thinp_error_last(&info);
		fail_msg("commit: %s: %s", thinp_err_name(r), info.message);
	}
	m->committed = m->now;
	m->nr_commits++;
	meta_check_thin(m->io, NULL, NULL);
}

void pool_model_abort(struct pool_model *m)
{
	assert_int_equal(thinp_pool_abort(m->pool), 0);
	m->now = m->committed;
	m->nr_aborts++;
}

void pool_model_reopen(struct pool_model *m)
{
	thinp_pool_close(m->pool);
	assert_int_equal(thinp_pool_open(m->io, &m->opts, &m->pool), 0);
	m->now = m->committed;
}

/* --- changes --------------------------------------------------------------------------------------------------------- */

/* A commit finds room after every change. Without one it needs none, and may find none while a view holds back what the commit
 * before has freed. */
static void check_room(struct pool_model *m)
{
	struct thinp_sm_info data = {.size = sizeof(data)}, metadata = {.size = sizeof(metadata)};

	if (thinp_tm_generation(tp_thin_tm(m->pool)) == m->pool->store->generation)
		return; /* but the superblock */
	assert_int_equal(thinp_pool_get_space(m->pool, THINP_POOL_DATA, &data), 0);
	assert_int_equal(thinp_pool_get_space(m->pool, THINP_POOL_METADATA, &metadata), 0);
	assert_true(data.commit_cost + metadata.commit_cost <= metadata.nr_allocatable);
}

/* Only lack of space is a reason, and after it all is as before. */
static int done(struct pool_model *m, int r)
{
	m->nr_ops++;
	if (!r) {
		check_room(m);
		return 0;
	}
	if (r != THINP_ENOSPC || thinp_pool_status(m->pool)) {
		struct thinp_error_info info = {.size = sizeof(info)};

		thinp_error_last(&info);
		fail_msg("%s: %s", thinp_err_name(r), info.message);
	}
	m->nr_refused++;
	return r;
}

int pool_model_create(struct pool_model *m, uint32_t device)
{
	int r = done(m, thinp_pool_create_device(m->pool, device));

	if (r)
		return r;
	memset(&m->now.devices[device], 0, sizeof(m->now.devices[device]));
	m->now.devices[device].is_there = true;
	m->now.devices[device].created = m->now.devices[device].snapped = m->now.time;
	m->now.devices[device].transaction_id = m->now.transaction_id;
	return 0;
}

int pool_model_snap(struct pool_model *m, uint32_t device, uint32_t origin)
{
	struct model_device *d = &m->now.devices[device];
	int r = done(m, thinp_pool_create_snapshot(m->pool, device, origin));

	if (r)
		return r;
	*d = m->now.devices[origin];
	m->now.time++;
	d->created = d->snapped = m->now.devices[origin].snapped = m->now.time;
	d->transaction_id = m->now.transaction_id;
	return 0;
}

int pool_model_delete(struct pool_model *m, uint32_t device)
{
	int r = done(m, thinp_pool_delete_device(m->pool, device));

	if (!r)
		m->now.devices[device].is_there = false;
	return r;
}

static void set(struct pool_model *m, uint32_t device, uint32_t block, uint64_t data)
{
	m->now.devices[device].data[block] = data + 1;
	m->now.devices[device].time[block] = m->now.time;
}

/* As thinp_pool_alloc_data(). */
static int take_data(struct pool_model *m, uint64_t nr, uint64_t *first, uint64_t *nr_taken)
{
	int r = done(m, thinp_pool_alloc_data(m->pool, nr, first, nr_taken));

	for (uint64_t i = 0; !r && m->is_kept && i < *nr_taken; i++)
		if (m->is_kept[*first + i])
			fail_msg("data block %" PRIu64 " was handed out, which is needed", *first + i);
	return r;
}

int pool_model_map(struct pool_model *m, uint32_t device, uint32_t block)
{
	uint64_t data, nr_taken;
	int r = take_data(m, 1, &data, &nr_taken);

	if (r)
		return r;
	r = done(m, thinp_pool_insert(m->pool, device, place(m, block), data));
	if (r)
		assert_int_equal(thinp_pool_dec_data(m->pool, data, 1), 0);
	else
		set(m, device, block, data);
	return r;
}

int pool_model_map_run(struct pool_model *m, uint32_t device, uint32_t block, uint32_t nr)
{
	uint64_t data, nr_taken, nr_done = 0;
	int r = take_data(m, nr, &data, &nr_taken);

	if (r)
		return r;
	r = done(m, thinp_pool_insert_run(m->pool, device, block, data, nr_taken, &nr_done));
	for (uint32_t i = 0; i < nr_done; i++)
		set(m, device, block + i, data + i);
	if (nr_done < nr_taken)
		assert_int_equal(thinp_pool_dec_data(m->pool, data + nr_done, nr_taken - nr_done), 0);
	return r;
}

int pool_model_share(struct pool_model *m, uint32_t device, uint32_t block, uint32_t from_device, uint32_t from_block)
{
	uint64_t data = m->now.devices[from_device].data[from_block] - 1;
	bool is_same = m->now.devices[device].data[block] == data + 1;
	int r = is_same ? 0 : done(m, thinp_pool_inc_data(m->pool, data, 1));

	if (r)
		return r;
	r = done(m, thinp_pool_insert(m->pool, device, place(m, block), data));
	if (!r)
		set(m, device, block, data);
	else if (!is_same)
		assert_int_equal(thinp_pool_dec_data(m->pool, data, 1), 0);
	return r;
}

int pool_model_unmap(struct pool_model *m, uint32_t device, uint32_t first, uint32_t last)
{
	struct model_device *d = &m->now.devices[device];
	uint64_t nr_removed = 0, nr = 0;
	bool is_complete = false;
	int r = done(m, thinp_pool_remove_range(m->pool, device, place(m, first), place(m, last), 0, &nr_removed,
						&is_complete));

	if (r)
		return r;
	for (uint32_t i = first; i <= last; i++) {
		nr += d->data[i] != 0;
		d->data[i] = 0;
	}
	assert_true(is_complete);
	assert_int_equal(nr_removed, nr);
	return 0;
}

int pool_model_hold(struct pool_model *m)
{
	int r = done(m, thinp_pool_reserve_metadata_snap(m->pool));

	if (r)
		return r;
	m->now.is_held = true;
	memcpy(m->now.held, m->now.devices, sizeof(m->now.held));
	return 0;
}

int pool_model_release(struct pool_model *m)
{
	int r = done(m, thinp_pool_release_metadata_snap(m->pool));

	if (!r)
		m->now.is_held = false;
	return r;
}

/* --- at random --------------------------------------------------------------------------------------------------- */

void pool_model_change_mappings(struct pool_model *m, uint32_t device)
{
	uint32_t first = (uint32_t)pool_model_random(m, MODEL_BLOCKS), last;
	uint32_t from = (uint32_t)pool_model_random(m, MODEL_DEVICES);

	switch (pool_model_random(m, 8)) {
	case 0:
		last = first + (uint32_t)pool_model_random(m, pool_model_random(m, 4) ? 20 : MODEL_BLOCKS - first);
		(void)pool_model_unmap(m, device, first, last < MODEL_BLOCKS ? last : MODEL_BLOCKS - 1);
		break;
	case 1:
	case 2:
		last = 1 + (uint32_t)pool_model_random(m, MODEL_BLOCKS - first);
		if (m->stride == 1)
			(void)pool_model_map_run(m, device, first, last);
		break;
	case 3:
		last = (uint32_t)pool_model_random(m, MODEL_BLOCKS);
		if (m->now.devices[from].is_there && m->now.devices[from].data[last])
			(void)pool_model_share(m, device, first, from, last);
		break;
	default:
		for (uint32_t n = 0; n < 5 && first + n < MODEL_BLOCKS; n++)
			(void)pool_model_map(m, device, first + n);
	}
}

void pool_model_change_devices(struct pool_model *m, uint32_t device)
{
	uint32_t other = (uint32_t)pool_model_random(m, MODEL_DEVICES);

	if (m->now.devices[device].is_there) {
		if (pool_model_random(m, 3) == 0)
			(void)pool_model_delete(m, device);
	} else if (m->now.devices[other].is_there) {
		(void)pool_model_snap(m, device, other);
	} else {
		(void)pool_model_create(m, device);
	}
}

void pool_model_change(struct pool_model *m)
{
	uint32_t device = (uint32_t)pool_model_random(m, MODEL_DEVICES);

	if (pool_model_random(m, 8) == 0)
		pool_model_change_devices(m, device);
	else if (m->now.devices[device].is_there)
		pool_model_change_mappings(m, device);
}

/* --- comparing ------------------------------------------------------------------------------------------------------- */

static uint32_t compare_mappings(struct pool_model *m, struct thinp_pool *pool, uint32_t id,
				 const struct model_device *d, uint32_t *highest)
{
	uint32_t nr = 0;

	for (uint32_t i = 0; i < MODEL_BLOCKS; i++) {
		struct thinp_mapping mapping = {.data_block = 0};
		int r = thinp_pool_lookup(pool, id, place(m, i), &mapping);

		if (!d->data[i]) {
			assert_int_equal(r, THINP_ENODATA);
			continue;
		}
		assert_int_equal(r, 0);
		assert_int_equal(mapping.data_block, d->data[i] - 1);
		assert_int_equal(mapping.time, d->time[i]);
		assert_int_equal(mapping.is_shared, d->snapped > d->time[i]);
		*highest = i;
		nr++;
	}
	return nr;
}

static bool goes_on(const struct pool_model *m, const struct model_device *d, uint32_t i)
{
	return m->stride == 1 && d->data[i] == d->data[i - 1] + 1 && d->data[i - 1] &&
	       (d->snapped > d->time[i]) == (d->snapped > d->time[i - 1]);
}

static void compare_runs(struct pool_model *m, struct thinp_pool *pool, uint32_t id, const struct model_device *d)
{
	struct thinp_mapped_run run = {.length = 0};
	uint32_t i = 0;

	for (;;) {
		uint32_t begin;
		int r = thinp_pool_lookup_run(pool, id, place(m, i), UINT64_MAX, &run);

		while (i < MODEL_BLOCKS && !d->data[i])
			i++;
		assert_int_equal(r, i == MODEL_BLOCKS ? THINP_ENODATA : 0);
		if (r)
			return;
		begin = i++;
		while (i < MODEL_BLOCKS && goes_on(m, d, i))
			i++;
		assert_int_equal(run.virtual_begin, place(m, begin));
		assert_int_equal(run.data_begin, d->data[begin] - 1);
		assert_int_equal(run.length, i - begin);
		assert_int_equal(run.is_shared, d->snapped > d->time[begin]);
		if (i == MODEL_BLOCKS)
			return;
	}
}

static void compare_device(struct pool_model *m, struct thinp_pool *pool, uint32_t id, const struct model_device *d)
{
	struct thinp_device_info info = {.size = sizeof(info)};
	uint32_t nr, highest = 0;
	uint64_t block = 0;
	int r = thinp_pool_get_device(pool, id, &info);

	assert_int_equal(r, d->is_there ? 0 : THINP_ENODATA);
	if (r)
		return;
	nr = compare_mappings(m, pool, id, d, &highest);
	compare_runs(m, pool, id, d);
	assert_int_equal(info.mapped_blocks, nr);
	assert_int_equal(info.creation_time, d->created);
	assert_int_equal(info.snapshotted_time, d->snapped);
	assert_int_equal(info.transaction_id, d->transaction_id);
	r = thinp_pool_highest_mapped(pool, id, &block);
	assert_int_equal(r, nr ? 0 : THINP_ENODATA);
	if (nr)
		assert_int_equal(block, place(m, highest));
}

static int take_id(void *ctx, const struct thinp_device_info *device)
{
	uint64_t *ids = ctx;

	assert_true(device->dev_id < MODEL_DEVICES);
	*ids |= UINT64_C(1) << device->dev_id;
	return 0;
}

void pool_model_compare_devices(struct pool_model *m, struct thinp_pool *pool, const struct model_device *devices)
{
	uint64_t ids = 0;

	assert_int_equal(thinp_pool_walk_devices(pool, take_id, &ids), 0);
	for (uint32_t i = 0; i < MODEL_DEVICES; i++) {
		assert_int_equal(ids >> i & 1, devices[i].is_there);
		compare_device(m, pool, i, &devices[i]);
	}
}

static void compare_held(struct pool_model *m)
{
	const struct thinp_pool_opts opts = {.size = sizeof(opts), .flags = THINP_POOL_METADATA_SNAP};
	struct thinp_pool *snap;
	int r = thinp_pool_open(m->io, &opts, &snap);

	assert_int_equal(r, m->committed.is_held ? 0 : THINP_ENOENT);
	if (r)
		return;
	pool_model_compare_devices(m, snap, m->committed.held);
	thinp_pool_close(snap);
}

void pool_model_compare(struct pool_model *m)
{
	struct thinp_pool_info info = {.size = sizeof(info)};

	thinp_pool_get_info(m->pool, &info);
	assert_int_equal(info.time, m->now.time);
	assert_int_equal(info.transaction_id, m->now.transaction_id);
	assert_int_equal(info.metadata_snap != 0, m->now.is_held);
	assert_int_equal(info.nr_data_blocks, m->now.nr_data);
	assert_int_equal(info.flags, m->now.needs_check ? THINP_POOL_NEEDS_CHECK : 0);
	pool_model_compare_devices(m, m->pool, m->now.devices);
	compare_held(m);
}
