/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/record_rebuild.c - the device as it would be after part of the log.
 */
#include "base/error.h"
#include "io/overlay.h"
#include "io/record.h"

/* Blocks beyond the end are passed over: the change of size that made room for them may be lost. */
static int apply_write(struct tp_overlay *overlay, const struct tp_record_entry *entry)
{
	uint64_t size = tp_overlay_size(overlay);
	int r = 0;

	for (uint64_t n = 0; n < entry->nr_blocks && entry->block + n < size && !r; n++)
		r = tp_overlay_write(overlay, entry->block + n, entry->data + n * THINP_BLOCK_SIZE);
	return r;
}

static int apply_discard(struct tp_overlay *overlay, const struct tp_record_entry *entry)
{
	uint64_t size = tp_overlay_size(overlay);
	thinp_block_t end = entry->block + entry->nr_blocks;

	end = end < size ? end : size;
	return entry->block < end ? tp_overlay_discard(overlay, entry->block, end) : 0;
}

static int apply(struct tp_overlay *overlay, const struct tp_record_entry *entry)
{
	switch (entry->kind) {
	case THINP_RECORD_WRITE:
		return apply_write(overlay, entry);
	case THINP_RECORD_DISCARD:
		return apply_discard(overlay, entry);
	case THINP_RECORD_RESIZE:
		return tp_overlay_resize(overlay, entry->nr_blocks);
	default:
		return 0;
	}
}

static int apply_all(struct tp_overlay *overlay, struct thinp_record *record, uint64_t nr_entries, const uint64_t *lost,
		     size_t nr_lost)
{
	size_t at = 0;
	int r = 0;

	for (uint64_t i = 0; i < nr_entries && !r; i++) {
		while (at < nr_lost && lost[at] < i)
			at++;
		if (at == nr_lost || lost[at] != i)
			r = apply(overlay, tp_record_entry(record, i));
	}
	return r;
}

static bool is_ascending(const uint64_t *numbers, size_t nr)
{
	for (size_t i = 1; i < nr; i++)
		if (numbers[i - 1] >= numbers[i])
			return false;
	return true;
}

int thinp_record_rebuild(struct thinp_record *record, uint64_t nr_entries, const uint64_t *lost, size_t nr_lost,
			 struct thinp_io **io)
{
	const struct tp_below below = {.read = tp_record_read_below, .ctx = record};
	uint64_t nr_there = thinp_record_nr_entries(record);
	struct tp_overlay *overlay;
	int r;

	if (!is_ascending(lost, nr_lost))
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "record: the lost entries are not in ascending order");
	r = tp_overlay_create(&record->allocator, &below, record->first_size, &overlay);
	if (r)
		return r;
	r = apply_all(overlay, record, nr_entries < nr_there ? nr_entries : nr_there, lost, nr_lost);
	if (!r)
		r = tp_overlay_open(overlay, io);
	if (r)
		tp_overlay_destroy(overlay);
	return r;
}
