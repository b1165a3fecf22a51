/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block/attachment.h - what a room above has made of a block and of what that leads to, found by the block's address.
 *
 * An attachment is found as a buffer is: without a lock, within an epoch. It goes when its block leaves the cache or is
 * changed, and its memory is used again when no reader can still look at it. There are few places, so that one look finds
 * it; who comes to a place first keeps it as long as the block stays.
 */
#ifndef TP_BLOCK_ATTACHMENT_H
#define TP_BLOCK_ATTACHMENT_H

#include <thinp/types.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define TP_ATTACHMENT_PLACES 64u
#define TP_ATTACHMENT_SHARE  32u /* of the memory of a full cache, one part in so many may be attachments */

struct tp_cache;
struct thinp_buffer;

/* The head of one; what the maker keeps there follows. */
struct tp_attachment {
	thinp_block_t block;
	struct thinp_buffer *buffer; /* that holds the block */
	size_t nbytes;               /* of all of it */
	struct tp_attachment *next;  /* these two: in the list of detached ones */
	uint64_t stamp;
};

struct tp_attachments {
	_Atomic(struct tp_attachment *) places[TP_ATTACHMENT_PLACES];
	/* How much a block in each place is asked for: hints, which nobody has to see at once. */
	_Atomic thinp_block_t wanted[TP_ATTACHMENT_PLACES];
	_Atomic uint32_t wishes[TP_ATTACHMENT_PLACES];
	/* with the lock of the cache */
	size_t nbytes;                        /* detached ones included */
	struct tp_attachment *detached_first; /* oldest stamp first */
	struct tp_attachment *detached_last;
};

/* That of a block, or NULL. Within an epoch. */
static inline struct tp_attachment *tp_attachment_of(struct tp_attachments *attachments, thinp_block_t block)
{
	struct tp_attachment *attachment = atomic_load(&attachments->places[block % TP_ATTACHMENT_PLACES]);

	return attachment && attachment->block == block ? attachment : NULL;
}

/* Notes that one would be of use. How often that was noted; 0: the place is another block's. */
uint32_t tp_attachment_wish(struct tp_attachments *attachments, thinp_block_t block);

/* Memory for one, head included, within the share; NULL: there is none, which is nobody's failure. Outside of a section,
 * for memory that no reader can look at any more is given back. */
struct tp_attachment *tp_attachment_alloc(struct tp_cache *cache, size_t nbytes);

/* Gives one back that was not attached. */
void tp_attachment_free(struct tp_cache *cache, struct tp_attachment *attachment);

/* Makes one findable for the block that a buffer holds. Within the section in which the buffer was found. False: the block
 * has left, is being changed, or has no place; the attachment is still the caller's. */
bool tp_attachment_attach(struct tp_cache *cache, struct tp_attachment *attachment, struct thinp_buffer *buffer);

/* With the lock: from now on nobody finds the attachment of a buffer that has one. */
void tp_attachment_detach(struct tp_cache *cache, struct thinp_buffer *buffer);

/* Releases all. No reader may be left. */
void tp_attachment_exit(struct tp_cache *cache);

#endif
