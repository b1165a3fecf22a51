/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * store/slots.c - the places where superblocks are.
 *
 * They are read and cleared past the block cache, which never holds one.
 */
#include "store/store.h"

#include "base/alloc.h"
#include "format/kind.h"

#include <string.h>

struct slots {
	uint8_t *data; /* of all slots */
	uint32_t nr;
	bool is_zero;
};

static size_t nbytes_of(const struct thinp_store *store)
{
	return (size_t)store->format->nr_slots * THINP_BLOCK_SIZE;
}

static uint8_t *slot_data(const struct slots *slots, uint32_t slot)
{
	return slots->data + (size_t)slot * THINP_BLOCK_SIZE;
}

static bool is_zero(const uint8_t *data, size_t nbytes)
{
	return !data[0] && !memcmp(data, data + 1, nbytes - 1);
}

static int check_size(struct thinp_store *store)
{
	uint64_t nr_blocks;
	int r = thinp_io_size(store->io, &nr_blocks);

	if (!r && nr_blocks < store->format->nr_slots)
		r = tp_fail(THINP_EUNFORMATTED, 0, "the device is too small to hold a %s", store->format->type()->name);
	return r;
}

static int read_slots(struct thinp_store *store, struct slots *slots)
{
	int r = check_size(store);

	if (r)
		return r;
	slots->nr = store->format->nr_slots;
	slots->data = tp_alloc_aligned(&store->allocator, nbytes_of(store), THINP_BLOCK_SIZE);
	if (!slots->data)
		return THINP_ENOMEM;
	r = thinp_io_read(store->io, 0, slots->nr, slots->data);
	if (!r)
		slots->is_zero = is_zero(slots->data, nbytes_of(store));
	return r;
}

/* Is it a sound record? maps is filled in. */
static int try_slot(struct thinp_store *store, const struct slots *slots, uint32_t slot, struct tp_store_maps *maps)
{
	int r = tp_block_verify(slot_data(slots, slot), slot, store->format->type());

	return r ? r : store->format->unpack(store->format_ctx, slot_data(slots, slot), maps);
}

/* What becomes of the slots: the best one, and what is wrong with the others. */
struct choice {
	bool found;
	uint32_t slot;
	uint64_t commit;
	int failure; /* of one that is not all zero; 0: none */
	struct thinp_error_info why;
};

static void note_failure(struct choice *choice, const struct slots *slots, uint32_t slot, int r)
{
	if (is_zero(slot_data(slots, slot), THINP_BLOCK_SIZE) || choice->failure)
		return;
	choice->failure = r;
	choice->why.size = sizeof(choice->why);
	thinp_error_last(&choice->why);
}

static void choose(struct thinp_store *store, const struct slots *slots, struct choice *choice)
{
	for (uint32_t slot = 0; slot < slots->nr; slot++) {
		struct tp_store_maps maps = {.commit = 0};
		int r = try_slot(store, slots, slot, &maps);

		if (r) {
			note_failure(choice, slots, slot, r);
		} else if (!choice->found || maps.commit > choice->commit) {
			choice->found = true;
			choice->slot = slot;
			choice->commit = maps.commit;
		}
	}
}

static void tell_of_fall_back(struct thinp_store *store, const struct choice *choice)
{
	struct thinp_log_record rec = {.size = sizeof(rec),
				       .level = THINP_LOG_WARNING,
				       .room = "store",
				       .code = choice->failure,
				       .block = choice->why.block,
				       .text = choice->why.message};

	store->fell_back = true;
	if (store->opts.log)
		store->opts.log(store->opts.log_ctx, &rec);
}

static int use_choice(struct thinp_store *store, const struct slots *slots, const struct choice *choice,
		      struct tp_commit *commit)
{
	struct thinp_error_info before = {.size = sizeof(before)};
	int r;

	if (!choice->found && slots->is_zero)
		return tp_fail(THINP_EUNFORMATTED, 0, "nothing but zeros where a %s should be",
			       store->format->type()->name);
	if (!choice->found) {
		tp_error_restore(&choice->why);
		return choice->failure;
	}
	thinp_error_last(&before);
	r = try_slot(store, slots, choice->slot, &commit->maps);
	if (r)
		return r;
	memcpy(commit->record, slot_data(slots, choice->slot), THINP_BLOCK_SIZE);
	if (choice->failure)
		tell_of_fall_back(store, choice);
	return 0;
}

int tp_store_read_slots(struct thinp_store *store, struct tp_commit *commit)
{
	struct thinp_error_info before = {.size = sizeof(before)};
	struct slots slots = {.data = NULL};
	struct choice choice = {.found = false};
	int r;

	thinp_error_last(&before);
	r = read_slots(store, &slots);
	if (!r) {
		choose(store, &slots, &choice);
		r = use_choice(store, &slots, &choice, commit);
	}
	if (!r)
		tp_error_restore(&before); /* a slot that failed its check has become nobody's failure */
	tp_free(&store->allocator, slots.data, nbytes_of(store));
	return r;
}

int tp_store_clear_slots(struct thinp_store *store)
{
	size_t nbytes = nbytes_of(store);
	uint8_t *zeros = tp_alloc_aligned(&store->allocator, nbytes, THINP_BLOCK_SIZE);
	int r;

	if (!zeros)
		return THINP_ENOMEM;
	memset(zeros, 0, nbytes);
	r = thinp_io_write(store->io, 0, store->format->nr_slots, zeros);
	if (!r)
		r = thinp_io_flush(store->io);
	tp_free(&store->allocator, zeros, nbytes);
	return r;
}

int tp_store_check_slot(struct thinp_store *store)
{
	const struct tp_commit *last = store->last;
	uint32_t slot = (uint32_t)(last->maps.commit % store->format->nr_slots);
	uint8_t *data = tp_alloc_aligned(&store->allocator, THINP_BLOCK_SIZE, THINP_BLOCK_SIZE);
	int r;

	if (!data)
		return THINP_ENOMEM;
	r = thinp_io_read(store->io, slot, 1, data);
	if (!r && memcmp(data, last->record, THINP_BLOCK_SIZE))
		r = tp_fail(THINP_ESTALE, slot, "somebody else has written a %s since", store->format->type()->name);
	tp_free(&store->allocator, data, THINP_BLOCK_SIZE);
	return r;
}

int tp_store_write_slot(struct thinp_store *store)
{
	const struct tp_commit *last = store->last;
	uint8_t *data = tp_alloc_aligned(&store->allocator, THINP_BLOCK_SIZE, THINP_BLOCK_SIZE);
	int r;

	if (!data)
		return THINP_ENOMEM;
	memcpy(data, last->record, THINP_BLOCK_SIZE);
	r = thinp_io_write(store->io, last->maps.commit % store->format->nr_slots, 1, data);
	if (!r)
		r = thinp_io_flush(store->io);
	tp_free(&store->allocator, data, THINP_BLOCK_SIZE);
	return r;
}
