/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * store/store.h - what a store is made of, and how another kind of superblock is plugged in.
 */
#ifndef TP_STORE_STORE_H
#define TP_STORE_STORE_H

#include "base/error.h"
#include "format/store.h"
#include "space_map/map.h"
#include "store/live.h"

#include <thinp/store.h>

#include <pthread.h>

#define TP_STORE_MAX_SLOTS 2u

/* What every superblock has, whatever its format. */
struct tp_store_maps {
	uint64_t commit; /* where the format has none: counted from 1 at opening */
	struct tp_sm_root metadata;
	struct tp_sm_root data[THINP_STORE_NR_MAPS]; /* nr_blocks 0 and no roots: none */
	bool is_for_readers;                         /* it uses features that only who does not write may ignore */
};

static inline bool tp_store_has_map(const struct tp_store_maps *maps, uint32_t index)
{
	return maps->data[index].ref_count_root;
}

/* A kind of superblock. What else it holds is in the ctx, which belongs to the open transaction: unpack() sets it. */
struct tp_store_format {
	const char *name;
	const struct thinp_block_type *(*type)(void);
	uint32_t nr_slots; /* commit n is in block n % nr_slots */
	/* Reads a record; THINP_ECORRUPT, THINP_ENOTSUP. */
	int (*unpack)(void *ctx, const void *data, struct tp_store_maps *maps);
	/* Writes the open transaction's record over that of the last commit, or over zeros. */
	void (*pack)(const void *ctx, const struct tp_store_maps *maps, void *data);
	/* Fills in what a new store begins with; thinp_store_tm() can be used. The transaction is open. NULL: nothing. */
	int (*create)(void *ctx, struct thinp_store *store);
};

/* A commit that is the last one, or that a view holds. */
struct tp_commit {
	struct tp_commit *newer;
	uint64_t nr_views;    /* that hold it, stale ones left out */
	uint64_t stale_stamp; /* with has_gone_stale: the epoch in which its views were told */
	bool has_gone_stale;
	uint64_t nr_freed; /* by this commit and all before it since the store was opened: blocks of all maps */
	struct thinp_view *views;
	struct tp_store_maps maps;
	uint8_t record[THINP_BLOCK_SIZE]; /* as it is on the device */
};

enum tp_store_state {
	TP_STORE_IDLE,
	TP_STORE_OPEN,    /* a transaction is */
	TP_STORE_UNKNOWN, /* a commit ended so */
	TP_STORE_LOST,    /* somebody else has written to the device */
	TP_STORE_FAILED,  /* an abort could not go back to the last commit */
};

struct thinp_store {
	struct thinp_allocator allocator;
	struct thinp_store_opts opts;
	const struct tp_store_format *format;
	void *format_ctx;
	struct thinp_io *io;
	struct thinp_bm *bm;
	struct thinp_reader *reader; /* for what the maps read of the last commit */
	struct thinp_sm *metadata;
	struct thinp_sm *maps[THINP_STORE_NR_MAPS]; /* NULL: none */
	struct thinp_tm *tm;
	enum tp_store_state state;
	struct tp_live live;
	uint64_t generation; /* of the tm when the transaction began */
	bool fell_back;
	bool is_lost;      /* found while changes were written: the abort will say so */
	uint8_t *slots;    /* as we read or wrote them, and as much again to compare with */
	bool has_previous; /* at opening: the commit before the last is in another slot */
	bool has_broken;   /* at opening: another slot has a commit whose blocks are not held back */
	struct tp_store_maps previous;
	pthread_mutex_t lock;     /* for the commits and their views; nothing is called under it */
	struct tp_commit *oldest; /* of a list that ends with the last commit */
	struct tp_commit *last;
	uint64_t nr_views;              /* stale ones included */
	uint64_t nr_freed_by_last;      /* blocks that the last commit freed */
	uint64_t nr_held;               /* free blocks that could not be taken right after the last commit */
	struct tp_store_superblock own; /* format_ctx of a store file of our own */
};

extern const struct tp_store_format tp_store_own_format;

/* As thinp_store_open(), with a superblock of another format. format_ctx must outlive the store. */
int tp_store_open(struct thinp_io *io, const struct thinp_store_opts *opts, const struct tp_store_format *format,
		  void *format_ctx, struct thinp_store **store) TP_MUST_USE;

/* Reads the slots and chooses the last commit that can be read. THINP_EUNFORMATTED: nothing but zeros. */
int tp_store_read_slots(struct thinp_store *store, struct tp_commit *commit) TP_MUST_USE;

/* Makes all slots zeros, durably. */
int tp_store_clear_slots(struct thinp_store *store) TP_MUST_USE;

/* Are the slots still as we read or wrote them? The next commit of somebody else may be in any of them. THINP_ESTALE. */
int tp_store_check_slots(struct thinp_store *store) TP_MUST_USE;

/* Writes the record of the last commit again where it is, and makes it durable. */
int tp_store_write_slot(struct thinp_store *store) TP_MUST_USE;

/* Makes zeros of the slots that do not have the last commit, durably. */
int tp_store_clear_other_slots(struct thinp_store *store) TP_MUST_USE;

/* Tells the user's log of a failure that is none of the caller's. */
void tp_store_warn(const struct thinp_store *store, const char *what, const struct thinp_error_info *why);

/* The last commit is on the device: remembers what its slot holds. */
void tp_store_note_slot(struct thinp_store *store, const struct tp_commit *commit);

/* As thinp_store_add_map(), for formats whose maps may have no blocks yet. The map must not be there. */
int tp_store_add_map(struct thinp_store *store, uint32_t index, uint64_t nr_blocks) TP_MUST_USE;

/* A new commit becomes the last one. It was made with tp_commit_create(). */
struct tp_commit *tp_commit_create(struct thinp_store *store);
void tp_store_add_commit(struct thinp_store *store, struct tp_commit *commit);
void tp_store_free_commits(struct thinp_store *store);

/* Lets the maps use again what nothing holds any more, and forgets the commits that nobody looks at. */
void tp_store_release(struct thinp_store *store);

/* Remembers how many blocks are free and cannot be taken although nothing was freed since the last commit. */
void tp_store_note_held(struct thinp_store *store);
uint64_t tp_store_nr_unusable(const struct thinp_store *store);

/* Can the store still be changed, now or after the open transaction? THINP_EUNKNOWN, THINP_ESTALE, THINP_EIO. */
int tp_store_check_usable(const struct thinp_store *store) TP_MUST_USE;

/* Is a transaction open that can go on? THINP_EINVAL, THINP_EMUSTABORT. */
int tp_store_check_changeable(const struct thinp_store *store) TP_MUST_USE;

/* Between transactions nothing may be changed. */
void tp_store_end_transaction(struct thinp_store *store, enum tp_store_state state);

/* Freed blocks that views hold back. Under the lock. */
uint64_t tp_store_nr_held(const struct thinp_store *store);

/* Makes the oldest views stale while they hold back more than they may. */
void tp_store_limit_views(struct thinp_store *store);

#endif
