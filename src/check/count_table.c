/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/count_table.c - a table of numbers for block numbers.
 */
#include "check/count_table.h"

#include "base/error.h"

#define FIRST_ROOM 1024u

/* The slot of a block, or the empty one where it would be. Multiplying by 2^64 / golden ratio spreads neighbours. */
static struct tp_count_entry *slot_of(struct tp_count_entry *entries, size_t room, uint64_t block)
{
	size_t at = (size_t)(block * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (room - 1);

	while (entries[at].block_plus_1 && entries[at].block_plus_1 != block + 1)
		at = (at + 1) & (room - 1);
	return &entries[at];
}

static int grow(struct tp_count_table *table, struct tp_memory *memory)
{
	size_t room = table->room ? 2 * table->room : FIRST_ROOM;
	struct tp_count_entry *entries = tp_memory_get(memory, room, sizeof(*entries));

	if (!entries)
		return THINP_ENOMEM;
	for (size_t i = 0; i < table->room; i++)
		if (table->entries[i].block_plus_1)
			*slot_of(entries, room, table->entries[i].block_plus_1 - 1) = table->entries[i];
	tp_memory_put(memory, table->entries, table->room, sizeof(*entries));
	table->entries = entries;
	table->room = room;
	return 0;
}

int tp_count_table_add(struct tp_count_table *table, struct tp_memory *memory, uint64_t block, uint64_t nr)
{
	struct tp_count_entry *slot;

	if (2 * table->nr >= table->room && grow(table, memory))
		return THINP_ENOMEM;
	slot = slot_of(table->entries, table->room, block);
	if (!slot->block_plus_1) {
		slot->block_plus_1 = block + 1;
		table->nr++;
	}
	slot->count += nr;
	return 0;
}

uint64_t tp_count_table_get(const struct tp_count_table *table, uint64_t block)
{
	return slot_of(table->entries, table->room, block)->count;
}

void tp_count_table_exit(struct tp_count_table *table, struct tp_memory *memory)
{
	tp_memory_put(memory, table->entries, table->room, sizeof(*table->entries));
	*table = (struct tp_count_table){.nr = 0};
}
