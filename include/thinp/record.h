/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 *  @brief A device that keeps a log of all that changes it.
 *
 *  It stands over another device, which stays the caller's. The log tells every write with its data, every discard,
 *  flush and change of size, and what came of it. Together with the content that the device below had at first it holds
 *  every state in which a crash could have left the device; thinp/crash.h goes through them.
 *
 *  The device below is not copied. A block's first content is kept when the block is first written; what was never
 *  written is read from the device below when it is wanted.
 */
#ifndef THINP_RECORD_H
#define THINP_RECORD_H

#include <thinp/io.h>

#ifdef __cplusplus
extern "C" {
#endif

struct thinp_record; /* opaque: defined in src/io */

/** How to make a device that keeps a log. */
struct thinp_record_opts {
	size_t size;                             /**< sizeof(struct thinp_record_opts), set by the caller */
	uint64_t max_bytes;                      /**< most memory for the log and for first contents; 0: 1 GiB */
	const struct thinp_allocator *allocator; /**< NULL: libc; must outlive the device */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_record_opts) == 24, "published layout, version 1");

/** What an entry of the log tells of. The first three have the numbers of ::thinp_io_kind. */
enum thinp_record_kind {
	THINP_RECORD_WRITE = 2,   /**< a WRITE */
	THINP_RECORD_DISCARD = 3, /**< a DISCARD */
	THINP_RECORD_FLUSH = 4,   /**< a FLUSH */
	THINP_RECORD_RESIZE = 5,  /**< a change of size */
	THINP_RECORD_MARK = 6,    /**< thinp_record_mark() */
};

/** An entry of the log.
 *
 *  `begun` and `ended` are ticks of one clock. An entry that had ended before another began comes before it; entries
 *  of which neither did were under way at the same time, and the device was free to carry them out in any order. That
 *  is so for the operations of one batch between two flushes, and for what several threads do.
 */
struct thinp_record_entry {
	size_t size;         /**< sizeof(struct thinp_record_entry), set by the caller */
	uint32_t kind;       /**< one of ::thinp_record_kind */
	int32_t result;      /**< 0, or the code it failed with; nothing is known before it has ended */
	thinp_block_t block; /**< WRITE, DISCARD: first block */
	uint64_t nr_blocks;  /**< WRITE, DISCARD: number of blocks. RESIZE: the size afterwards */
	const void *data;    /**< WRITE: the data, valid as long as the record; else NULL */
	uint64_t batch;      /**< number of the batch it came in, from 1 on; 0: in none */
	uint64_t begun;      /**< tick before it was carried out, from 1 on */
	uint64_t ended;      /**< tick after it was carried out; 0: it is still under way */
	uint64_t mark;       /**< MARK: its value */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_record_entry) == 72, "published layout, version 1");

/** Make a device that keeps a log, over another.
 *
 *  @param lower        the device below; borrowed, must outlive the record. Nobody else may change it meanwhile
 *  @param opts         NULL: defaults
 *  @param[out] record  the log, empty; any number of threads may use it at once
 *  @retval 0              done
 *  @retval THINP_EINVAL   an allocator without its functions
 *  @retval THINP_ENOTSUP  the options ask for something newer than this library
 *  @retval THINP_EIO      the device below does not tell its size
 *  @retval THINP_ENOMEM   no memory
 *  @return or another failure of the device below
 */
THINP_API int thinp_record_create(struct thinp_io *lower, const struct thinp_record_opts *opts,
				  struct thinp_record **record);

/** Release the log. Every device opened on it, and whatever else was made of it, must be closed.
 *
 *  @param record  the log; NULL is allowed
 */
THINP_API void thinp_record_destroy(struct thinp_record *record);

/** Open the device. It may be open several times; all write to one log.
 *
 *  Reads and writes go to the device below, neighbours of a batch together. When the memory for the log is used up,
 *  a write or a change of size is not carried out and gets #THINP_ENOMEM. A DISCARD is logged and goes no further, so
 *  that the first contents need not be read: the blocks read as before, which a device is free to do.
 *
 *  @param record   the log; must outlive the device
 *  @param opts     NULL: defaults. THINP_IO_READ_ONLY and the allocator are used. A device over a read-only one is
 *                  read-only
 *  @param[out] io  the device; closed by thinp_io_close()
 *  @retval 0              done
 *  @retval THINP_EINVAL   flags that contradict each other
 *  @retval THINP_ENOTSUP  the options ask for something newer than this library
 *  @retval THINP_ENOMEM   no memory
 */
THINP_API int thinp_record_open(struct thinp_record *record, const struct thinp_io_opts *opts, struct thinp_io **io);

/** Put a mark into the log, so that later it can be told what had been promised when. A test marks each commit when it
 *  has succeeded; from then on no crash may lose it.
 *
 *  @param record  the log
 *  @param mark    any number
 *  @retval 0             done
 *  @retval THINP_ENOMEM  no memory, or the memory for the log is used up
 */
THINP_API int thinp_record_mark(struct thinp_record *record, uint64_t mark);

/** How long the log is.
 *
 *  @param record  the log
 *  @return the number of entries
 */
THINP_API uint64_t thinp_record_nr_entries(struct thinp_record *record);

/** Copy out an entry. They are in the order in which they began.
 *
 *  @param record         the log
 *  @param index          0 is the first
 *  @param[in,out] entry  `size` set by the caller; at most that many bytes are filled in
 *  @retval 0              done
 *  @retval THINP_ENODATA  the log is not that long
 */
THINP_API int thinp_record_get_entry(struct thinp_record *record, uint64_t index, struct thinp_record_entry *entry);

/** Rebuild the device as it would be after part of the log: a device in memory, which reads what it does not hold from
 *  the device below.
 *
 *  The first @p nr_entries entries are carried out in their order, whether they succeeded or not, except those that
 *  are lost. It is not asked whether a device might have lost them: thinp/crash.h knows about that. Discarded blocks
 *  read as zeros.
 *
 *  @param record      the log; must outlive the device, and nothing may be written through it while the device is used
 *  @param nr_entries  how much of the log; more than there is means all of it
 *  @param lost        entries that are left out, ascending
 *  @param nr_lost     how many
 *  @param[out] io     the device, for any use: what is written to it stays in it; closed by thinp_io_close()
 *  @retval 0             done
 *  @retval THINP_EINVAL  @p lost is not in ascending order
 *  @retval THINP_ENOMEM  no memory
 */
THINP_API int thinp_record_rebuild(struct thinp_record *record, uint64_t nr_entries, const uint64_t *lost,
				   size_t nr_lost, struct thinp_io **io);

#ifdef __cplusplus
}
#endif
#endif
