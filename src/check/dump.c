/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/dump.c - the order of a dump: superblock, devices, their mappings.
 */
#include <thinp/dump.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/opts.h"
#include "check/dump_format.h"
#include "check/known_leaves.h"
#include "thin/runs.h"

#include <stdlib.h>

enum { ENOUGH = 1 };

/* Of a run, in any form. */
#define LONGEST_LINE 128u

static_assert(254 * LONGEST_LINE + TP_TEXT_LINE <= TP_TEXT_SIZE, "all inner runs of a leaf fit into the buffer");

struct dump {
	struct thinp_pool *pool;
	struct thinp_dump_opts opts;
	struct thinp_allocator allocator;
	const struct tp_dump_format *format;
	uint64_t *dev_ids; /* sorted copy */
	bool is_first_device;
	bool is_first_run;
	uint64_t done;
	uint64_t total;
	bool has_several_devices;
	struct thinp_run current;     /* may still grow; length 0: none */
	struct tp_known_leaves known; /* from the devices before */
	struct tp_text text;
};

static int by_id(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static bool is_wanted(const struct dump *dump, uint64_t dev_id)
{
	return !dump->opts.nr_dev_ids || bsearch(&dev_id, dump->dev_ids, dump->opts.nr_dev_ids, sizeof(dev_id), by_id);
}

/* Damaged counts must not wrap round to a plausible sum. */
static uint64_t saturating_sum(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static int add_to_total(void *ctx, const struct thinp_device_info *device)
{
	struct dump *dump = ctx;

	if (is_wanted(dump, device->dev_id))
		dump->total = saturating_sum(dump->total, device->mapped_blocks);
	return 0;
}

static int report_progress(struct dump *dump)
{
	if (dump->opts.progress && dump->opts.progress(dump->opts.progress_ctx, dump->done, dump->total))
		return tp_fail(THINP_ECANCELED, THINP_NO_BLOCK, "the dump was cancelled");
	return 0;
}

/* --- mappings -------------------------------------------------------------------------------------------------------- */

static void put_current(struct dump *dump)
{
	if (!dump->current.length)
		return;
	dump->format->runs(&dump->text, &dump->current, 1, dump->is_first_run);
	dump->is_first_run = false;
	dump->current.length = 0;
}

static void add_run(struct dump *dump, const struct thinp_run *run)
{
	if (tp_run_continues(&dump->current, run)) {
		dump->current.length += run->length;
		return;
	}
	put_current(dump);
	dump->current = *run;
}

/* Runs that nothing can go on with: their text is remembered, which is in one piece because all of it has room in the buffer. */
static int put_inner_runs(struct dump *dump, struct tp_known_leaf *leaf, const struct thinp_run *runs, size_t nr_runs)
{
	struct tp_text *text = &dump->text;
	size_t at;

	if (text->len + nr_runs * LONGEST_LINE + TP_TEXT_LINE > TP_TEXT_SIZE)
		tp_text_flush(text);
	at = text->len;
	dump->format->runs(text, runs, nr_runs, false);
	return dump->has_several_devices ? tp_known_leaves_keep(&dump->known, leaf, text->buffer + at, text->len - at)
					 : 0;
}

static int put_inner(struct dump *dump, struct tp_known_leaf *leaf, const struct thinp_run *runs, size_t nr_runs)
{
	put_current(dump);
	if (nr_runs > 2)
		return put_inner_runs(dump, leaf, runs + 1, nr_runs - 2);
	tp_text_put(&dump->text, leaf->text, leaf->text_len);
	return 0;
}

static int dump_leaf(void *ctx, thinp_block_t block, const struct thinp_run *runs, size_t nr_runs)
{
	struct dump *dump = ctx;
	struct tp_known_leaf *leaf = tp_known_leaves_place(&dump->known, block);
	int r = 0;

	if (runs)
		tp_known_leaf_set(leaf, block, runs, nr_runs);
	add_run(dump, &leaf->first);
	if (leaf->has_several) {
		r = put_inner(dump, leaf, runs, nr_runs);
		dump->current = leaf->last;
	}
	dump->done = saturating_sum(dump->done, leaf->nr_blocks);
	if (!r)
		r = dump->text.error;
	return r ? r : report_progress(dump);
}

static bool is_known(void *ctx, thinp_block_t block, uint64_t *first, uint64_t *last)
{
	const struct dump *dump = ctx;
	const struct tp_known_leaf *leaf = tp_known_leaves_place(&dump->known, block);

	if (leaf->leaf != block || !leaf->is_complete)
		return false;
	*first = leaf->first.virtual_begin;
	*last = leaf->last.virtual_begin + (leaf->last.length - 1);
	return true;
}

static int dump_mappings(struct dump *dump, uint64_t dev_id)
{
	int r;

	dump->is_first_run = true;
	dump->current.length = 0;
	r = tp_pool_walk_leaves(dump->pool, dev_id, is_known, dump_leaf, dump);
	if (!r)
		put_current(dump);
	return r;
}

/* --- devices --------------------------------------------------------------------------------------------------------- */

static int dump_device(void *ctx, const struct thinp_device_info *device)
{
	struct dump *dump = ctx;
	int r = 0;

	if (!is_wanted(dump, device->dev_id))
		return 0;
	dump->format->device_begin(&dump->text, device, dump->is_first_device);
	dump->is_first_device = false;
	if (!(dump->opts.flags & THINP_DUMP_SKIP_MAPPINGS))
		r = dump_mappings(dump, device->dev_id);
	if (r)
		return r;
	dump->format->device_end(&dump->text);
	return dump->text.error ? dump->text.error : report_progress(dump);
}

static int run(struct dump *dump)
{
	struct thinp_pool_info info = {.size = sizeof(info)};
	int r = 0;

	thinp_pool_get_info(dump->pool, &info);
	dump->format->begin(&dump->text, &info);
	if (dump->opts.progress && !(dump->opts.flags & THINP_DUMP_SKIP_MAPPINGS))
		r = thinp_pool_walk_devices(dump->pool, add_to_total, dump);
	if (!r)
		r = thinp_pool_walk_devices(dump->pool, dump_device, dump);
	if (!r)
		dump->format->end(&dump->text);
	tp_text_flush(&dump->text);
	return r ? r : dump->text.error;
}

static int choose_format(struct dump *dump)
{
	static const struct tp_dump_format *const formats[] = {
		[THINP_DUMP_XML] = &tp_dump_xml,
		[THINP_DUMP_HUMAN_READABLE] = &tp_dump_human_readable,
		[THINP_DUMP_JSON] = &tp_dump_json,
	};

	if (dump->opts.format >= sizeof(formats) / sizeof(formats[0]))
		return tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "there is no form %u of a dump", dump->opts.format);
	if (dump->opts.flags & ~THINP_DUMP_SKIP_MAPPINGS)
		return tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "unknown flags %#x for a dump", dump->opts.flags);
	dump->format = formats[dump->opts.format];
	return 0;
}

static int sort_ids(struct dump *dump)
{
	size_t nr = dump->opts.nr_dev_ids;

	if (!nr)
		return 0;
	dump->dev_ids = tp_alloc_zeroed(&dump->allocator, nr, sizeof(*dump->dev_ids));
	if (!dump->dev_ids)
		return THINP_ENOMEM;
	memcpy(dump->dev_ids, dump->opts.dev_ids, nr * sizeof(*dump->dev_ids));
	qsort(dump->dev_ids, nr, sizeof(*dump->dev_ids), by_id);
	return 0;
}

static int count_to_two(void *ctx, const struct thinp_device_info *device)
{
	size_t *nr = ctx;

	(void)device;
	return ++*nr == 2 ? ENOUGH : 0;
}

/* What cannot be found out now is met again on the way through the devices. */
static bool has_several_devices(const struct dump *dump)
{
	struct thinp_error_info before = {.size = sizeof(before)};
	size_t nr = dump->opts.nr_dev_ids;
	int r;

	if (nr)
		return nr > 1;
	thinp_error_last(&before);
	r = thinp_pool_walk_devices(dump->pool, count_to_two, &nr);
	if (r)
		tp_error_restore(&before);
	return r;
}

/* Nothing is remembered of a device that is alone. */
static int create_known_leaves(struct dump *dump)
{
	struct thinp_pool_info info = {.size = sizeof(info)};

	dump->has_several_devices = has_several_devices(dump);
	thinp_pool_get_info(dump->pool, &info);
	return tp_known_leaves_create(&dump->known, &dump->allocator,
				      dump->has_several_devices ? info.nr_metadata_blocks : 1);
}

int thinp_dump(struct thinp_pool *pool, const struct thinp_dump_opts *user_opts, thinp_dump_write_fn write, void *ctx)
{
	struct thinp_allocator allocator;
	struct thinp_dump_opts opts;
	struct dump *dump;
	int r = tp_opts_take(&opts, sizeof(opts), user_opts);

	if (!r)
		r = tp_allocator_take(&allocator, opts.allocator);
	if (r)
		return r;
	dump = tp_alloc_zeroed(&allocator, 1, sizeof(*dump));
	if (!dump)
		return THINP_ENOMEM;
	dump->pool = pool;
	dump->opts = opts;
	dump->allocator = allocator;
	dump->is_first_device = true;
	dump->text.write = write;
	dump->text.ctx = ctx;
	r = choose_format(dump);
	if (!r)
		r = sort_ids(dump);
	if (!r && !(opts.flags & THINP_DUMP_SKIP_MAPPINGS))
		r = create_known_leaves(dump);
	if (!r)
		r = run(dump);
	tp_known_leaves_destroy(&dump->known);
	tp_free(&allocator, dump->dev_ids, opts.nr_dev_ids * sizeof(*dump->dev_ids));
	tp_free(&allocator, dump, sizeof(*dump));
	return r;
}
