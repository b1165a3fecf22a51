/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block/cache.h - the buffers of a block manager: found without a lock, fetched and dropped under one.
 */
#ifndef TP_BLOCK_CACHE_H
#define TP_BLOCK_CACHE_H

#include "base/epoch.h"
#include "block/attachment.h"
#include "block/radix.h"
#include "format/outline.h"

#include <thinp/allocator.h>
#include <thinp/format.h>
#include <thinp/io.h>

#include <pthread.h>
#include <stddef.h>

#define TP_CHUNK_MAX_BUFFERS  64u
#define TP_HUGE_CHUNK_BUFFERS 512u /* of a huge page of 2 MiB */

#define TP_CHANGE_COUNTS 256u

#define TP_OWN_BUFFERS 8u /* of the writer; more than any operation on a tree has locked at once */

/* A buffer is in exactly one of five states: free, in the hands of one thread (which fills it, and may keep it for its
 * section when it cannot be linked), linked (readers can find it), unlinked but still pinned, retired (no new reader can
 * find it, an old one may still look at it). */
enum tp_buffer_state { TP_BUFFER_FREE, TP_BUFFER_IN_HAND, TP_BUFFER_LINKED, TP_BUFFER_UNLINKED, TP_BUFFER_RETIRED };

/* What the clock's hand goes by: since it last came past, the block was not used again, or was; or it was fetched ahead
 * of its first use, which is not counted, so that a scan that fetches ahead does not drive out what is in use. */
enum tp_buffer_use { TP_UNUSED, TP_USED, TP_AHEAD };

/* Nodes that are linked and clean, or about to be, have an outline beside them. Who sees that within an epoch may go by the
 * block and the outline of a buffer, wherever it knows the buffer from: it is as if the table had just given it. */
enum tp_outlined { TP_NO_OUTLINE, TP_OUTLINE, TP_OUTLINE_OF_USUAL_LEAF };

/* A buffer of the cache. The public interface names it and tells nothing of it. Without the lock readers look at block,
 * data, type, use and the outline of a linked buffer. A compiler may load neighbouring fields in one go, so those under the
 * lock do not share a word with one that is changed without it and read beside them.
 *
 * All but the pivots of the outline is in one line of the processor's cache, and these are in the two behind it: a look-up
 * asks for all three as soon as it knows where the buffer is. */
struct thinp_buffer {
	alignas(64) thinp_block_t block;
	uint8_t *data;                                 /* 4096 bytes, aligned to 4096 */
	_Atomic(const struct thinp_block_type *) type; /* the kind that the content was checked as; NULL: not yet */
	_Atomic uint8_t use;                           /* enum tp_buffer_use */
	_Atomic uint8_t outlined;                      /* enum tp_outlined */
	/* these two are of the thread that changes blocks */
	bool is_locked; /* being changed; pinned as well, unless is_light */
	bool is_light;  /* locked without the cache's lock and without a pin: it is dirty, so it stays where it is */
	/* these two are as they were made */
	bool is_private;        /* not of the cache: belongs to one section */
	bool is_own;            /* of the writer: own.c */
	uint8_t to_be_outlined; /* once it is linked: of the thread that has it in hand */

	union {
		struct { /* linked: the list of changed ones */
			struct thinp_buffer *prev_changed;
			struct thinp_buffer *next_changed;
		};
		struct { /* free or retired: the list of these */
			struct thinp_buffer *next;
			uint64_t stamp; /* of a retired buffer */
		};
	};
	uint32_t pins;   /* who holds it across I/O or for a change */
	uint8_t state;   /* enum tp_buffer_state */
	bool is_dirty;   /* changed since it was written; never evicted */
	bool is_changed; /* in this transaction: in the list of such buffers */
	bool has_attachment;
	struct tp_outline outline;
};
static_assert(sizeof(void *) != 8 || offsetof(struct thinp_buffer, outline.pivots) == 64, "lines of the cache");

/* Buffers are made in chunks, as they are needed. */
struct tp_chunk {
	struct tp_chunk *next;
	uint8_t *data;
	uint32_t nr_buffers;
	bool is_mapped; /* a huge page, not from the allocator */
	struct thinp_buffer buffers[];
};

enum tp_taker { TP_FOR_READING, TP_FOR_CHANGE, TP_FOR_NEIGHBOURS };

struct tp_cache_counters {
	_Atomic uint64_t hits; /* found under the lock; those without are counted in the epoch slots */
	_Atomic uint64_t misses;
	_Atomic uint64_t prefetched;
	_Atomic uint64_t evictions;
	_Atomic uint64_t uncached;
	_Atomic uint64_t bytes;
};

struct tp_cache {
	struct thinp_io *io;
	struct thinp_allocator allocator;
	struct tp_epochs epochs;
	struct tp_radix table;
	struct tp_attachments attachments;
	struct tp_cache_counters counters;

	pthread_mutex_t
		lock;        /* all below, and changes of the table; never held across I/O or a call of the allocator */
	uint32_t limit;      /* most buffers */
	uint32_t nr_buffers; /* made, or about to be made by somebody */
	uint32_t nr_linked;
	uint32_t nr_retired;
	struct thinp_buffer *free;
	struct thinp_buffer *retired_first; /* oldest stamp first */
	struct thinp_buffer *retired_last;
	struct tp_chunk *chunks; /* oldest first */
	struct tp_chunk *last_chunk;
	struct tp_chunk *hand_chunk; /* the clock's hand */
	uint32_t hand_buffer;
	struct thinp_buffer *changed; /* buffers changed in this transaction, dirty or written early */
	uint32_t nr_dirty;            /* of these */
	uint32_t nr_locked; /* both are changed by the thread that changes blocks alone, which may read them so */
	/* How often one of the blocks with this remainder became other than what a read begun before may bring. */
	uint64_t change_counts[TP_CHANGE_COUNTS];
	struct tp_chunk *own; /* the writer's own buffers; NULL before anything is changed */
	bool is_reserved;     /* a change waits for a buffer */
	bool use_huge_pages;
};

int tp_cache_init(struct tp_cache *cache, struct thinp_io *io, const struct thinp_allocator *allocator, uint32_t limit);

/* Releases all memory. No reader may be left. */
void tp_cache_exit(struct tp_cache *cache);

static inline void tp_buffer_note_use(struct thinp_buffer *buffer)
{
	uint8_t use = atomic_load_explicit(&buffer->use, memory_order_relaxed);

	if (use != TP_USED)
		atomic_store_explicit(&buffer->use, use == TP_AHEAD ? TP_UNUSED : TP_USED, memory_order_relaxed);
}

/* A block that the cache has, checked as the kind; NULL otherwise. Lock-free, within an epoch. */
static inline struct thinp_buffer *tp_cache_find(struct tp_cache *cache, thinp_block_t block,
						 const struct thinp_block_type *type)
{
	struct thinp_buffer *buffer = tp_radix_find(&cache->table, block);

	if (!buffer || atomic_load_explicit(&buffer->type, memory_order_acquire) != type)
		return NULL;
	tp_buffer_note_use(buffer);
	return buffer;
}

/* The same for a node that was found in a buffer before: it is looked for only if that is not its any more. *known: that
 * buffer, or NULL; it is brought up to date. */
static inline struct thinp_buffer *tp_cache_find_again(struct tp_cache *cache, thinp_block_t block,
						       const struct thinp_block_type *node_type,
						       _Atomic(struct thinp_buffer *) *known)
{
	struct thinp_buffer *buffer = atomic_load_explicit(known, memory_order_acquire);

	if (buffer && atomic_load(&buffer->outlined) && buffer->block == block) {
		tp_buffer_note_use(buffer);
		return buffer;
	}
	buffer = tp_cache_find(cache, block, node_type);
	if (buffer)
		atomic_store_explicit(known, buffer, memory_order_release);
	return buffer;
}

/* Makes the outline of a linked buffer whose content is a sound block, and stays as it is until tp_cache_note_change(). */
void tp_buffer_outline(struct thinp_buffer *buffer);

/* The same for a buffer in hand: the outline counts from when it is linked. */
void tp_buffer_outline_ahead(struct thinp_buffer *buffer);

/* The block, from the device if need be, checked as the kind and pinned: it stays until tp_cache_unpin(). Outside of
 * an epoch. spare: a buffer in hand to fetch into, which is given up whatever happens; NULL: one is found. Neighbours before
 * nr_blocks may be read with it; 0: none. */
int tp_cache_fetch(struct tp_cache *cache, thinp_block_t block, const struct thinp_block_type *type, uint64_t nr_blocks,
		   struct thinp_buffer *spare, struct thinp_buffer **buffer);

/* The same, but NULL when the cache does not have the block. */
int tp_cache_pin(struct tp_cache *cache, thinp_block_t block, const struct thinp_block_type *type,
		 struct thinp_buffer **buffer);
void tp_cache_unpin(struct tp_cache *cache, struct thinp_buffer *buffer);

/* Takes the blocks that the cache has out of the array; the others keep their order. Returns how many are left. */
size_t tp_cache_drop_cached(struct tp_cache *cache, thinp_block_t *blocks, size_t nr_blocks);

/* Fetches blocks in as few batches as possible; tells nothing of failures. blocks ascend, none is beyond the device.
 * Returns false when it stopped because no buffer was to be had. Outside of an epoch. */
bool tp_cache_prefetch(struct tp_cache *cache, const thinp_block_t *blocks, size_t nr_blocks,
		       const struct thinp_block_type *type);

/* Makes a buffer in hand the one that is found for its block, in the place of any other; pinned, locked and dirty.
 * THINP_ENOMEM: the buffer is still in hand. */
int tp_cache_link_changed(struct tp_cache *cache, struct thinp_buffer *buffer);

/* Says what a buffer in hand holds, or will hold. */
void tp_cache_prepare(struct thinp_buffer *buffer, thinp_block_t block, const struct thinp_block_type *type,
		      enum tp_buffer_use use);

/* All of these with the lock. The buffer that is linked for a block, or NULL. */
struct thinp_buffer *tp_cache_look_up(struct tp_cache *cache, thinp_block_t block);

/* Unlinks a buffer and retires it, now or with the last pin. */
void tp_cache_unlink(struct tp_cache *cache, struct thinp_buffer *buffer);

/* The same for one whose place in the table another has taken. */
void tp_cache_drop_unlinked(struct tp_cache *cache, struct thinp_buffer *buffer);

/* Takes a pin away; the buffer is linked or unlinked. */
void tp_cache_drop_pin(struct tp_cache *cache, struct thinp_buffer *buffer);

/* What is on the device, or what was read from it and is not linked yet, is not the block's content any more. */
void tp_cache_note_outdated(struct tp_cache *cache, thinp_block_t block);

/* Ends a lock, and takes its pin away. */
void tp_cache_unlock(struct tp_cache *cache, struct thinp_buffer *buffer);

/* Puts a buffer on the list of changed ones, dirty and locked; makes it clean, though it stays changed; takes it off. */
void tp_cache_note_change(struct tp_cache *cache, struct thinp_buffer *buffer);
void tp_cache_note_written(struct tp_cache *cache, struct thinp_buffer *buffer);
void tp_cache_note_no_change(struct tp_cache *cache, struct thinp_buffer *buffer);

/* Buffers with nothing in them, and no data yet. NULL: no memory. */
struct tp_chunk *tp_chunk_alloc(struct tp_cache *cache, uint32_t nr_buffers);

static inline size_t tp_chunk_bytes(uint32_t nr_buffers)
{
	return sizeof(struct tp_chunk) + nr_buffers * sizeof(struct thinp_buffer);
}

/* For the parts of the cache: buffers.c gives buffers, cache.c fills them. The lock is taken inside. */
struct thinp_buffer *tp_cache_take_buffer(struct tp_cache *cache, enum tp_taker taker); /* NULL: there is none now */
void tp_cache_return_buffer(struct tp_cache *cache, struct thinp_buffer *buffer);       /* not linked */

/* The same for the writer's own buffers; tp_own_make() gives them, once, and without the lock. */
int tp_own_make(struct tp_cache *cache);
void tp_own_exit(struct tp_cache *cache);
struct thinp_buffer *tp_own_take(struct tp_cache *cache);

/* With the lock: the one that is linked for a block, or NULL; unlinks all. */
struct thinp_buffer *tp_own_find(struct tp_cache *cache, thinp_block_t block);
void tp_own_unlink_all(struct tp_cache *cache);

/* Reads a block, with neighbours before nr_blocks when these are likely to be of use. What it leaves in the thread's detail
 * record, when it succeeds, is nobody's failure. */
int tp_cache_read_around(struct tp_cache *cache, thinp_block_t wanted, uint64_t nr_blocks, void *data);

/* For the parts that read: cache.c, ahead.c and around.c.
 *
 * With the lock, looks for a block that is to be read when it is not there. *change_count: to be compared when what was read
 * meanwhile is to be linked. */
struct thinp_buffer *tp_cache_look_before_read(struct tp_cache *cache, thinp_block_t block, uint64_t *change_count);

/* Makes a filled buffer findable. Gives the buffer that is to be gone on with, pinned as often as asked: this one, or
 * the one that somebody else linked meanwhile. NULL when there is no memory for nodes, or when the block was changed
 * since its count was looked at: it may be on the device and gone from the cache again, and this be what was before. */
struct thinp_buffer *tp_cache_link(struct tp_cache *cache, struct thinp_buffer *buffer, uint64_t change_count,
				   uint32_t pins);

/* Gives up a buffer in hand. */
void tp_cache_give_up(struct tp_cache *cache, struct thinp_buffer *buffer);

/* Nobody reads these blocks, each of them once, any more as they are. What is pinned, or was changed in this transaction,
 * stays. The other function makes their buffers the next to be used, so that a cache with room for more does not grow for
 * what has no use. */
void tp_cache_drop_unused(struct tp_cache *cache, const thinp_block_t *blocks, size_t nr_blocks);
void tp_cache_reuse_dropped(struct tp_cache *cache);

/* While it is set, readers do without buffers of the cache, so that those that come free are left for a change. */
void tp_cache_reserve(struct tp_cache *cache, bool is_reserved);

#endif
