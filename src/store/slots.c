/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * store/slots.c - the places where superblocks are.
 *
 * They are read and cleared past the block cache, which never holds one.
 */
#include "store/store.h"

#include "base/bytes.h"
#include "format/kind.h"

#include <string.h>

struct slots {
	uint8_t *data; /* of all slots */
	uint32_t nr;
	bool is_zero;
	bool is_sound[TP_STORE_MAX_SLOTS];
	struct tp_store_maps maps[TP_STORE_MAX_SLOTS];
};

static size_t nbytes_of(const struct thinp_store *store)
{
	return (size_t)store->format->nr_slots * THINP_BLOCK_SIZE;
}

static uint8_t *slot_data(const struct slots *slots, uint32_t slot)
{
	return slots->data + (size_t)slot * THINP_BLOCK_SIZE;
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
	slots->data = store->slots;
	r = thinp_io_read(store->io, 0, slots->nr, slots->data);
	if (!r)
		slots->is_zero = tp_is_zero(slots->data, nbytes_of(store));
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

/* A commit that we do not understand must not be written over as if it was damaged. */
static void note_failure(struct choice *choice, const struct slots *slots, uint32_t slot, int r)
{
	if (tp_is_zero(slot_data(slots, slot), THINP_BLOCK_SIZE) || (choice->failure && r != THINP_ENOTSUP))
		return;
	choice->failure = r;
	choice->why.size = sizeof(choice->why);
	thinp_error_last(&choice->why);
}

static void choose(struct thinp_store *store, struct slots *slots, struct choice *choice)
{
	for (uint32_t slot = 0; slot < slots->nr; slot++) {
		int r = try_slot(store, slots, slot, &slots->maps[slot]);

		slots->is_sound[slot] = !r;
		if (r) {
			note_failure(choice, slots, slot, r);
		} else if (!choice->found || slots->maps[slot].commit > choice->commit) {
			choice->found = true;
			choice->slot = slot;
			choice->commit = slots->maps[slot].commit;
		}
	}
}

/* A slot is empty only until its first commit. */
static void note_lost(const struct slots *slots, struct choice *choice)
{
	for (uint32_t slot = 0; slot < slots->nr; slot++) {
		if (slots->is_sound[slot] || choice->failure || choice->commit < slots->nr)
			continue;
		choice->failure = tp_fail(THINP_ECORRUPT, slot, "nothing but zeros where a commit was");
		choice->why.size = sizeof(choice->why);
		thinp_error_last(&choice->why);
	}
}

static void note_previous(struct thinp_store *store, const struct slots *slots, const struct choice *choice)
{
	for (uint32_t slot = 0; slot < slots->nr; slot++) {
		if (!slots->is_sound[slot] || slots->maps[slot].commit + 1 != choice->commit)
			continue;
		store->has_previous = true;
		store->previous = slots->maps[slot];
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
	int r;

	if (!choice->found && slots->is_zero)
		return tp_fail(THINP_EUNFORMATTED, 0, "nothing but zeros where a %s should be",
			       store->format->type()->name);
	if (!choice->found || choice->failure == THINP_ENOTSUP) {
		tp_error_restore(&choice->why);
		return choice->failure;
	}
	/* it has passed its check; the format's context is to be that of this slot */
	r = store->format->unpack(store->format_ctx, slot_data(slots, choice->slot), &commit->maps);
	if (r)
		return r;
	memcpy(commit->record, slot_data(slots, choice->slot), THINP_BLOCK_SIZE);
	note_previous(store, slots, choice);
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
		if (choice.found)
			note_lost(&slots, &choice);
		r = use_choice(store, &slots, &choice, commit);
	}
	if (!r)
		tp_error_restore(&before); /* a slot that failed its check has become nobody's failure */
	return r;
}

int tp_store_clear_slots(struct thinp_store *store)
{
	int r = check_size(store);

	if (r == THINP_EUNFORMATTED)
		r = tp_fail(THINP_ENOSPC, 0, "the device is too small for a %s", store->format->type()->name);
	if (r)
		return r;
	memset(store->slots, 0, nbytes_of(store));
	r = thinp_io_write(store->io, 0, store->format->nr_slots, store->slots);
	return r ? r : thinp_io_flush(store->io);
}

int tp_store_check_slots(struct thinp_store *store)
{
	size_t nbytes = nbytes_of(store);
	uint8_t *now = store->slots + nbytes;
	int r = thinp_io_read(store->io, 0, store->format->nr_slots, now);

	if (!r && memcmp(now, store->slots, nbytes))
		r = tp_fail(THINP_ESTALE, THINP_NO_BLOCK, "somebody else has written a %s since",
			    store->format->type()->name);
	return r;
}

static uint8_t *slot_of(struct thinp_store *store, const struct tp_commit *commit)
{
	return store->slots + commit->maps.commit % store->format->nr_slots * THINP_BLOCK_SIZE;
}

int tp_store_write_slot(struct thinp_store *store)
{
	const struct tp_commit *last = store->last;
	int r = thinp_io_write(store->io, last->maps.commit % store->format->nr_slots, 1, slot_of(store, last));

	return r ? r : thinp_io_flush(store->io);
}

void tp_store_note_slot(struct thinp_store *store, const struct tp_commit *commit)
{
	memcpy(slot_of(store, commit), commit->record, THINP_BLOCK_SIZE);
}
