/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 *  @brief The crash kit: every state in which a crash could have left a recorded device, one after the other.
 *
 *  A workload runs once over a device that keeps a log (thinp/record.h). The kit then gives the states that the device
 *  may be found in after a crash at any moment; the caller's own code opens each one and says whether it is sound.
 *
 *  What a device may do. Between two flushes it may carry out writes in any order, and a crash keeps any of them and
 *  loses any others. The unit is the sector of 512 bytes: each sector of a write that was not flushed holds the old or
 *  the new content, whatever became of its neighbours. What had ended before a FLUSH began is there for good when the
 *  FLUSH has succeeded. A write that failed, or that stood before a FLUSH that failed, may be there or not for as
 *  long as nothing newer is written to its blocks and flushed: a later FLUSH does not help it. A discarded block reads
 *  as before or as zeros. A change of size is durable when it has returned.
 *
 *  How the states are numbered. The log is cut into *windows*: a window ends where a FLUSH succeeded, where the size
 *  changed, and at the end of the log. At any moment in a window the same *pieces* may be lost: the blocks of all
 *  writes, and the discards, that no flush has made durable. In a window of few pieces every subset of them is a state.
 *  In a larger one the states are every prefix in the order of the log, every piece lost alone, every piece kept alone,
 *  and random subsets, in which some blocks have random sectors only. Then come the torn blocks. The number of a state
 *  is the same in every run with the same log and options.
 */
#ifndef THINP_CRASH_H
#define THINP_CRASH_H

#include <thinp/record.h>

#ifdef __cplusplus
extern "C" {
#endif

struct thinp_crash; /* opaque: defined in src/io */

#define THINP_CRASH_NONE     UINT32_MAX /**< for `exhaustive_max` and `nr_random`: none at all */
#define THINP_CRASH_NO_ENTRY UINT64_MAX /**< in place of the index of an entry: there is none */

/** Which torn blocks are tried. A block is torn alone: once with all pieces before it kept and all behind it lost, as if
 *  it was the last, and once with all others kept. */
enum thinp_crash_tear {
	THINP_CRASH_TEAR_EACH = 0, /**< both; the first 1 to 7 sectors of the block are new */
	THINP_CRASH_TEAR_LAST = 1, /**< only as if it was the last */
	THINP_CRASH_TEAR_NONE = 2, /**< no block is torn, in random subsets neither */
	THINP_CRASH_TEAR_ANY = 3,  /**< both; each of the 254 ways in which some sectors are new and some are old */
};

/** How to go through the states. */
struct thinp_crash_opts {
	size_t size;             /**< sizeof(struct thinp_crash_opts), set by the caller */
	uint32_t exhaustive_max; /**< every subset in windows of at most so many pieces, up to 32; 0: 10 */
	uint32_t nr_random;      /**< random subsets in each larger window; 0: 64 */
	uint32_t tear;           /**< one of ::thinp_crash_tear */
	uint32_t flags;          /**< 0 */
	uint64_t seed;           /**< of the random subsets */
	const struct thinp_allocator *allocator; /**< NULL: libc; must outlive the iterator and its states */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_crash_opts) == 40, "published layout, version 1");

/** Where a state comes from. */
enum thinp_crash_how {
	THINP_CRASH_SUBSET = 1,    /**< one of all subsets of the pieces */
	THINP_CRASH_PREFIX = 2,    /**< the first pieces are kept, the others lost */
	THINP_CRASH_LOST_ONE = 3,  /**< one piece is lost, the others kept */
	THINP_CRASH_KEPT_ONE = 4,  /**< one piece is kept, the others lost */
	THINP_CRASH_RANDOM = 5,    /**< a random subset, some of it torn */
	THINP_CRASH_TORN_LAST = 6, /**< one block is torn, what comes before it is kept, what comes behind it lost */
	THINP_CRASH_TORN_ONE = 7,  /**< one block is torn, the others kept */
};

/** What is known of a state. */
struct thinp_crash_state {
	size_t size;          /**< sizeof(struct thinp_crash_state), set by the caller */
	uint64_t number;      /**< of the state, from 0 on */
	uint64_t window;      /**< of the log, from 0 on */
	uint32_t how;         /**< one of ::thinp_crash_how */
	uint32_t has_mark;    /**< 1: `mark` is one, 0: there was none yet */
	uint64_t mark;        /**< the last mark before the window's end: what it stands for must be in the state */
	uint64_t begin_entry; /**< the FLUSH or RESIZE that the window begins with, or #THINP_CRASH_NO_ENTRY */
	uint64_t end_entry;   /**< the one before whose success the crash came; #THINP_CRASH_NO_ENTRY: the log's end */
	uint64_t nr_blocks;   /**< size of the device */
	uint64_t nr_pieces;   /**< pieces that may be lost */
	uint64_t nr_kept;     /**< of these, the ones that are there */
	uint64_t nr_torn;     /**< of these, the ones of which some sectors are there; the rest is lost */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_crash_state) == 88, "published layout, version 1");

/** What became of a piece: a block of a write, or a discard. */
struct thinp_crash_piece {
	size_t size;         /**< sizeof(struct thinp_crash_piece), set by the caller */
	uint64_t entry;      /**< index of its entry in the log */
	thinp_block_t block; /**< the block, or the first one of a discard */
	uint64_t nr_blocks;  /**< 1, or the number of blocks of a discard */
	uint32_t kind;       /**< #THINP_RECORD_WRITE or #THINP_RECORD_DISCARD */
	uint32_t sectors;    /**< bit n: the n-th sector is new. 0: lost, 255: kept, else torn */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_crash_piece) == 40, "published layout, version 1");

/** Looks at a state and says whether it is sound.
 *
 *  @param ctx    the caller's own pointer
 *  @param io     the device in that state; may be written to, not be closed
 *  @param state  what is known of the state
 *  @return 0 to go on; anything else ends the run, which returns it
 */
typedef int (*thinp_crash_check_fn)(void *ctx, struct thinp_io *io, const struct thinp_crash_state *state);

/** Make an iterator over the states of a log. It stands before the first.
 *
 *  @param record      the log; borrowed, must outlive the iterator. No operation may be under way, and nothing may be
 *                     added while the iterator lives
 *  @param opts        NULL: defaults
 *  @param[out] crash  the iterator; one thread at a time
 *  @retval 0              done
 *  @retval THINP_EINVAL   `exhaustive_max` is larger than 32, or an allocator without its functions
 *  @retval THINP_ENOTSUP  the options ask for something newer than this library
 *  @retval THINP_ENOMEM   no memory
 */
THINP_API int thinp_crash_create(struct thinp_record *record, const struct thinp_crash_opts *opts,
				 struct thinp_crash **crash);

/** Release an iterator, and the state that it stands on.
 *
 *  @param crash  the iterator; NULL is allowed
 */
THINP_API void thinp_crash_destroy(struct thinp_crash *crash);

/** How many states there are. Some are alike in content; what was promised may differ.
 *
 *  @param crash  the iterator
 *  @return the number of states; their numbers are below it
 */
THINP_API uint64_t thinp_crash_nr_states(const struct thinp_crash *crash);

/** Go to the next state.
 *
 *  The device stands in memory over what the record holds. It can be read, written and resized by any number of threads
 *  at once; what is written is in this state only, and gone with it. Neither the record nor the device below changes.
 *
 *  @param crash     the iterator
 *  @param[out] io   the device in that state; it belongs to the iterator, which closes it when it is moved or destroyed
 *  @retval 0              done
 *  @retval THINP_ENODATA  that was the last one; the iterator stands behind it
 *  @retval THINP_EIO      the device below the record failed
 *  @retval THINP_ENOMEM   no memory; the iterator stands on no state, and the call may be repeated
 *  @return or another failure of the device below
 */
THINP_API int thinp_crash_next(struct thinp_crash *crash, struct thinp_io **io);

/** Go to a state by its number, to look at a failure again.
 *
 *  @param crash    the iterator
 *  @param number   of the state
 *  @param[out] io  as for thinp_crash_next()
 *  @retval 0              done
 *  @retval THINP_ENODATA  there are not that many; the iterator stands behind the last one
 *  @return or as thinp_crash_next()
 */
THINP_API int thinp_crash_seek(struct thinp_crash *crash, uint64_t number, struct thinp_io **io);

/** What is known of the state that the iterator stands on.
 *
 *  @param crash          the iterator
 *  @param[in,out] state  `size` set by the caller; at most that many bytes are filled in
 *  @retval 0              done
 *  @retval THINP_ENODATA  it stands on no state
 */
THINP_API int thinp_crash_get_state(const struct thinp_crash *crash, struct thinp_crash_state *state);

/** What became of a piece in the state that the iterator stands on. Pieces are in the order of the log.
 *
 *  @param crash          the iterator
 *  @param index          of the piece, from 0 on
 *  @param[in,out] piece  `size` set by the caller; at most that many bytes are filled in
 *  @retval 0              done
 *  @retval THINP_ENODATA  the state has no such piece, or the iterator stands on no state
 */
THINP_API int thinp_crash_get_piece(const struct thinp_crash *crash, uint64_t index, struct thinp_crash_piece *piece);

/** Describe the state that the iterator stands on in a few lines: where the crash came, what was promised, what is
 *  lost and what is torn.
 *
 *  @param crash      the iterator
 *  @param[out] text  room for @p nr_bytes bytes; ended by a NUL byte when there is any room, cut when there is too little
 *  @param nr_bytes   may be 0
 *  @return the bytes that the whole description takes, the NUL byte included
 */
THINP_API size_t thinp_crash_describe(const struct thinp_crash *crash, char *text, size_t nr_bytes);

/** Run a check over all states, from the one behind that the iterator stands on to the last.
 *
 *  When the check finds a state unsound, the iterator stays on it, for thinp_crash_describe() and the like; called once
 *  more, the run goes on behind it.
 *
 *  @param crash  the iterator
 *  @param check  called for each state
 *  @param ctx    handed to @p check
 *  @retval 0             every state is sound
 *  @retval THINP_EIO     the device below the record failed; then the iterator stands on no state
 *  @retval THINP_ENOMEM  no memory; then the iterator stands on no state
 *  @return or what @p check returned
 */
THINP_API int thinp_crash_run(struct thinp_crash *crash, thinp_crash_check_fn check, void *ctx);

#ifdef __cplusplus
}
#endif
#endif
