/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 *  @brief Checking the metadata of a pool. In the library libthinp-check.
 *
 *  A check reads every block that the pool uses, each one once, and counts all references anew. Everything that is wrong
 *  is told as a *finding*; a finding does not end the check. Nothing is written, but by the two functions that are asked
 *  to: thinp_check_fix_leaks() and thinp_check_clear_needs_check().
 *
 *  A finding is of a *severity*. Only #THINP_CHECK_FATAL, #THINP_CHECK_LEAK and #THINP_CHECK_META are damage, and only
 *  the first one makes it unwise to go on using the pool.
 */
#ifndef THINP_CHECK_H
#define THINP_CHECK_H

#include <thinp/parallel.h>
#include <thinp/pool.h>

#ifdef __cplusplus
extern "C" {
#endif

/** How bad a finding is. */
enum thinp_check_severity {
	THINP_CHECK_FATAL = 1,   /**< mappings may be wrong, or using the pool may destroy data */
	THINP_CHECK_LEAK = 2,    /**< blocks are counted more often than they are used: lost space, nothing else */
	THINP_CHECK_META = 3,    /**< a number that is kept twice disagrees with what it sums up */
	THINP_CHECK_WARNING = 4, /**< allowed, but not what any known writer leaves */
	THINP_CHECK_STATE = 5,   /**< no damage: something to know, for example what was not checked */
};

/** What a finding is about. Numbers never change their meaning; thinp_check_rule_name() gives the short name. */
enum thinp_check_rule {
	THINP_CHECK_SB1 = 101,  /**< superblock: checksum */
	THINP_CHECK_SB2 = 102,  /**< superblock: its own address is 0 */
	THINP_CHECK_SB3 = 103,  /**< superblock: magic number */
	THINP_CHECK_SB4 = 104,  /**< superblock: version 1 or 2 */
	THINP_CHECK_SB5 = 105,  /**< superblock: no unknown flags */
	THINP_CHECK_SB6 = 106,  /**< the pool asks for a check */
	THINP_CHECK_SB7 = 107,  /**< superblock: features that may be ignored */
	THINP_CHECK_SB8 = 108,  /**< superblock: features that may not be ignored */
	THINP_CHECK_SB9 = 109,  /**< superblock: size of metadata blocks */
	THINP_CHECK_SB10 = 110, /**< superblock: size of data blocks */
	THINP_CHECK_SB11 = 111, /**< superblock: metadata was not made larger than its map */
	THINP_CHECK_SB12 = 112, /**< superblock: unused bytes are zero */
	THINP_CHECK_SB13 = 113, /**< size of the metadata: within the limit, and not beyond the device */
	THINP_CHECK_SB14 = 114, /**< superblock: roots are within the metadata, no two alike */
	THINP_CHECK_SB15 = 115, /**< size of the data device: within the limit */
	THINP_CHECK_SB16 = 116, /**< no more blocks in use than there are */
	THINP_CHECK_SB17 = 117, /**< superblock: the clock is within its limit */
	THINP_CHECK_SB18 = 118, /**< there is a superblock at all */
	THINP_CHECK_BL1 = 201,  /**< a pointer leads to a block of the metadata */
	THINP_CHECK_BL2 = 202,  /**< a block can be read */
	THINP_CHECK_BL3 = 203,  /**< checksum of a block, as the kind that is expected */
	THINP_CHECK_BL4 = 204,  /**< a block is where it says it is */
	THINP_CHECK_BL5 = 205,  /**< a block serves one purpose only */
	THINP_CHECK_BL6 = 206,  /**< no node is its own descendant, none names a child twice */
	THINP_CHECK_N1 = 301,   /**< node: leaf or internal */
	THINP_CHECK_N2 = 302,   /**< node: size of values */
	THINP_CHECK_N3 = 303,   /**< node: capacity fits the block */
	THINP_CHECK_N4 = 304,   /**< node: capacity is what it should be */
	THINP_CHECK_N5 = 305,   /**< node: no more entries than fit */
	THINP_CHECK_N6 = 306,   /**< node: an internal one has entries */
	THINP_CHECK_N7 = 307,   /**< node: a third full at least */
	THINP_CHECK_N8 = 308,   /**< node: keys ascend */
	THINP_CHECK_N9 = 309,   /**< node: no key below what its parent says */
	THINP_CHECK_N10 = 310,  /**< node: no key that belongs to a neighbour */
	THINP_CHECK_N11 = 311,  /**< tree: all leaves at one depth */
	THINP_CHECK_N12 = 312,  /**< node: unused bytes of the header are zero */
	THINP_CHECK_N13 = 313,  /**< tree: not too deep */
	THINP_CHECK_SM1 = 401,  /**< map: the index has every bitmap once */
	THINP_CHECK_SM2 = 402,  /**< map: checksum and address of the index */
	THINP_CHECK_SM3 = 403,  /**< map: checksum and address of a bitmap */
	THINP_CHECK_SM4 = 404,  /**< map: nothing is counted beyond its end */
	THINP_CHECK_SM5 = 405,  /**< map: number of free blocks of a bitmap */
	THINP_CHECK_SM6 = 406,  /**< map: no free block before where the search begins */
	THINP_CHECK_SM7 = 407,  /**< map: number of blocks in use */
	THINP_CHECK_SM8 = 408,  /**< map: bitmaps and overflow tree agree on which counts are large */
	THINP_CHECK_SM9 = 409,  /**< map: counts in the overflow tree are large */
	THINP_CHECK_SM10 = 410, /**< map: keys of the overflow tree are blocks */
	THINP_CHECK_SM11 = 411, /**< counts are what was found */
	THINP_CHECK_D1 = 501,   /**< both trees know the same devices */
	THINP_CHECK_D2 = 502,   /**< device: number of mappings */
	THINP_CHECK_D3 = 503,   /**< device: id within the kernel's limit */
	THINP_CHECK_D4 = 504,   /**< device: times in order */
	THINP_CHECK_D5 = 505,   /**< device: transaction id not later than the pool's */
	THINP_CHECK_D6 = 506,   /**< mapping: to a block of the data device */
	THINP_CHECK_D7 = 507,   /**< mapping: made before now */
	THINP_CHECK_D8 = 508,   /**< mapping: a data block that is shared is known to be */
	THINP_CHECK_D9 = 509,   /**< device: no data block twice */
	THINP_CHECK_D10 = 510,  /**< mapping: within the bytes that a device can have */
	THINP_CHECK_H1 = 601,   /**< metadata snapshot: checksum, address, magic number */
	THINP_CHECK_H2 = 602,   /**< metadata snapshot: unused fields are zero */
	THINP_CHECK_H3 = 603,   /**< metadata snapshot: agrees with the pool */
};

/** Which structure a finding is in. */
enum thinp_check_part {
	THINP_CHECK_SUPERBLOCK = 1,        /**< block 0 */
	THINP_CHECK_SNAP = 2,              /**< the superblock's copy in the metadata snapshot */
	THINP_CHECK_DEVICES = 3,           /**< tree: device to the root of its mappings */
	THINP_CHECK_DETAILS = 4,           /**< tree: device to its details */
	THINP_CHECK_MAPPINGS = 5,          /**< trees: virtual block to data block */
	THINP_CHECK_DATA_INDEX = 6,        /**< tree: the bitmaps of the data map */
	THINP_CHECK_DATA_OVERFLOW = 7,     /**< tree: large counts of the data map */
	THINP_CHECK_METADATA_OVERFLOW = 8, /**< tree: large counts of the metadata map */
	THINP_CHECK_DATA_BITMAP = 9,       /**< counts of data blocks */
	THINP_CHECK_METADATA_BITMAP = 10,  /**< counts of metadata blocks */
	THINP_CHECK_METADATA_INDEX = 11,   /**< the block that names the bitmaps of the metadata map */
};

#define THINP_CHECK_NONE UINT64_MAX /**< in a finding: it has no such thing */

/** One thing that is not as it should be. All pointers are valid only during the callback. */
struct thinp_check_finding {
	size_t size;         /**< sizeof(struct thinp_check_finding), set by the library */
	int32_t severity;    /**< one of ::thinp_check_severity */
	int32_t rule;        /**< one of ::thinp_check_rule */
	int32_t part;        /**< one of ::thinp_check_part */
	uint32_t reserved;   /**< 0 */
	thinp_block_t block; /**< the metadata block it stands in, or #THINP_NO_BLOCK */
	uint64_t device;     /**< the thin device, or #THINP_CHECK_NONE */
	uint64_t begin;      /**< first key, or block that is counted wrongly; or #THINP_CHECK_NONE */
	uint64_t end;        /**< one behind the last one; #THINP_CHECK_NONE when there is no begin */
	uint64_t stored;     /**< the number that stands there, where it is a number; else #THINP_CHECK_NONE */
	uint64_t expected;   /**< the number that should; else #THINP_CHECK_NONE */
	const char *name;    /**< short name of the rule, for example "SM11" */
	const char *text;    /**< a sentence */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_check_finding) == 88, "published layout, version 1");

/** Receives the findings, on the thread that called the check. In an order that does not depend on threads: stage by
 *  stage, and in each by rule and block.
 *
 *  @param ctx      the caller's own pointer
 *  @param finding  valid during the callback
 *  @return 0 to go on; anything else ends the check, which returns it
 */
typedef int (*thinp_check_finding_fn)(void *ctx, const struct thinp_check_finding *finding);

/** Told how far it is, often, by one thread at a time, which need not be the one that called the check.
 *
 *  @param ctx    the caller's own pointer
 *  @param done   metadata blocks read so far
 *  @param total  metadata blocks in use, as the superblock has it; @p done may become larger when that is wrong
 *  @return 0 to go on; anything else ends the check with #THINP_ECANCELED
 */
typedef int (*thinp_check_progress_fn)(void *ctx, uint64_t done, uint64_t total);

#define THINP_CHECK_SKIP_MAPPINGS 1u /**< flag: superblock and devices only, no mappings and no counts */
#define THINP_CHECK_METADATA_SNAP 2u /**< flag: the metadata snapshot only, which stays as it is while a pool is used */

/** What to check, and how. */
struct thinp_check_opts {
	size_t size;                    /**< sizeof(struct thinp_check_opts), set by the caller */
	uint32_t flags;                 /**< THINP_CHECK_SKIP_MAPPINGS, ... */
	uint32_t max_findings;          /**< most findings of one rule and stage to be told; 0: 100. All are counted */
	thinp_check_finding_fn finding; /**< told what is found; NULL: nobody, it is only counted */
	void *finding_ctx;              /**< handed to the callback */
	thinp_check_progress_fn progress;   /**< NULL: nobody asks */
	void *progress_ctx;                 /**< handed to the callback */
	thinp_parallel_for_fn parallel_for; /**< NULL: all on the calling thread */
	void *parallel_ctx;                 /**< handed to it */
	uint32_t nr_tasks;  /**< most tasks side by side, at most 64; 0: 1 without parallel_for, else 4 */
	uint32_t reserved;  /**< 0 */
	uint64_t max_bytes; /**< most memory to take; 0: as much as the pool needs */
	const struct thinp_allocator *allocator; /**< NULL: libc */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_check_opts) == 88, "published layout, version 1");

#define THINP_CHECK_COUNTS_SKIPPED    1u /**< in a result: counts were not checked, nor was it wanted */
#define THINP_CHECK_COUNTS_INCOMPLETE 2u /**< in a result: damage hides references, so leaks were not looked for */

/** What a check came to. */
struct thinp_check_result {
	size_t size;                  /**< sizeof(struct thinp_check_result), set by the caller */
	uint64_t nr_fatal;            /**< findings of #THINP_CHECK_FATAL, whether told or not */
	uint64_t nr_leak;             /**< findings of #THINP_CHECK_LEAK; one of them can be a run of many blocks */
	uint64_t nr_meta;             /**< findings of #THINP_CHECK_META */
	uint64_t nr_warning;          /**< findings of #THINP_CHECK_WARNING */
	uint64_t nr_state;            /**< findings of #THINP_CHECK_STATE */
	uint64_t nr_blocks_read;      /**< metadata blocks that were read and looked at */
	uint64_t nr_unreadable;       /**< of these, those that the device did not give */
	uint64_t nr_devices;          /**< devices of the pool, or of its metadata snapshot if only that was checked */
	uint64_t nr_mappings;         /**< mappings, those that several devices share in one leaf counted once */
	uint64_t nr_data_used;        /**< data blocks that something refers to */
	uint64_t nr_metadata_used;    /**< metadata blocks that something refers to */
	uint64_t nr_data_leaked;      /**< data blocks that are counted too often */
	uint64_t nr_metadata_leaked;  /**< metadata blocks that are counted too often */
	uint64_t nr_data_too_low;     /**< data blocks that are counted not often enough */
	uint64_t nr_metadata_too_low; /**< metadata blocks that are counted not often enough */
	uint64_t peak_bytes;          /**< most memory that was taken */
	uint32_t flags;               /**< THINP_CHECK_COUNTS_SKIPPED, ... */
	uint32_t nr_tasks;            /**< tasks that ran side by side */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_check_result) == 144, "published layout, version 1");

/** Check the metadata of a pool on a device, however damaged it is.
 *
 *  What the device holds must not change meanwhile: the pool must not be in use, or its metadata snapshot be asked for. Of
 *  a pool that this program has open for changes, thinp_check_pool() checks everything.
 *  Memory grows with the metadata and the data in use, not with what damaged fields say: about 32 bytes for a metadata
 *  block and half a byte for a data block of each task.
 *
 *  @param io              the metadata device
 *  @param opts            NULL: everything, and findings are only counted
 *  @param[in,out] result  `size` set by the caller; at most that many bytes are filled in. NULL: not wanted
 *  @retval 0                done, whatever was found: ask the result
 *  @retval THINP_ENOENT     there is no metadata snapshot, or no superblock to name it
 *  @retval THINP_ECANCELED  the progress callback ended it
 *  @retval THINP_ENOTSUP    unknown flags
 *  @retval THINP_EIO        the device does not tell its size; a block that cannot be read is a finding
 *  @retval THINP_ENOMEM     no memory, or more than the options allow
 *  @return or what the callback for findings returned
 */
THINP_API int thinp_check_device(struct thinp_io *io, const struct thinp_check_opts *opts,
				 struct thinp_check_result *result);

/** Check the pool that is open. Of a pool that was opened on its metadata snapshot, the snapshot is checked; of one opened
 *  for reading, what its device holds, as by thinp_check_device().
 *
 *  Of a pool opened for changes, it is the last commit when the check begins, all of it, counts included. From any thread;
 *  the one that changes the pool may go on meanwhile, with commits as well: the check has a view of the store, and costs
 *  what views cost.
 *
 *  @param pool            the pool
 *  @param opts            as for thinp_check_device()
 *  @param[in,out] result  as for thinp_check_device()
 *  @retval THINP_ESTALE   the pool was changed so much that the view had to give way; what was told before holds
 *  @return or as thinp_check_device()
 */
THINP_API int thinp_check_pool(struct thinp_pool *pool, const struct thinp_check_opts *opts,
			       struct thinp_check_result *result);

/** Check a pool, and put right what can be without losing anything: counts that are too high (leaks), and numbers that are
 *  kept twice: blocks in use and free, mappings of a device. A pool with a fatal finding is not changed.
 *
 *  It goes through transactions of the pool, so a crash leaves the pool as it was or as it is to be. Mostly one commit is
 *  enough; when there are very many leaks, or little room, there are several, and then a failure or an end by the progress
 *  callback leaves part of the work done. Takes up to 2 MiB of memory beside what a check takes.
 *
 *  @param pool            opened with #THINP_POOL_WRITABLE, and #THINP_POOL_IGNORE_NEEDS_CHECK if need be; no transaction is
 *                         open
 *  @param opts            as for thinp_check_device(), without flags; the callback is told what is found at first
 *  @param[in,out] before  what the first check came to; `size` set by the caller. NULL: not wanted. Filled in also when the
 *                         answer is #THINP_ECORRUPT because of what was found
 *  @param[in,out] after   what is left at the end, in the same way: 0 in nr_leak. NULL: not wanted
 *  @retval 0               done, or nothing was to be done
 *  @retval THINP_ECORRUPT  there are fatal findings; nothing was changed. Or a block failed its check
 *  @retval THINP_ENOSPC    there is no room for the least change; nothing was changed
 *  @retval THINP_EROFS     the pool was opened for reading
 *  @retval THINP_EBUSY     a transaction is open
 *  @retval THINP_EINVAL    the options leave something out
 *  @return or as thinp_check_device() and thinp_pool_commit(); no transaction is open
 */
THINP_API int thinp_check_fix_leaks(struct thinp_pool *pool, const struct thinp_check_opts *opts,
				    struct thinp_check_result *before, struct thinp_check_result *after);

/** Check a pool and, when it is sound, take away its mark that it asks for a check (#THINP_POOL_NEEDS_CHECK). With a
 *  finding of #THINP_CHECK_FATAL, #THINP_CHECK_LEAK or #THINP_CHECK_META the mark stays, unless it be #THINP_CHECK_N7 only: nodes
 *  that are too empty do no harm, and nobody but a kernel that changes them puts them right.
 *
 *  @param pool            as for thinp_check_fix_leaks()
 *  @param opts            as for thinp_check_device(), without flags
 *  @param[in,out] result  what the check came to; `size` set by the caller. NULL: not wanted. Filled in also when the
 *                         answer is #THINP_ECORRUPT because of what was found
 *  @retval 0               the pool bears no mark
 *  @retval THINP_ECORRUPT  there are other findings than these; nothing was changed
 *  @return or as thinp_check_fix_leaks()
 */
THINP_API int thinp_check_clear_needs_check(struct thinp_pool *pool, const struct thinp_check_opts *opts,
					    struct thinp_check_result *result);

/** The short name of a rule, for example "SM11".
 *
 *  @param rule  one of ::thinp_check_rule
 *  @return static text; "?" for another number
 */
THINP_API const char *thinp_check_rule_name(int rule);

/** The name of a part, for example "data bitmap".
 *
 *  @param part  one of ::thinp_check_part
 *  @return static text; "?" for another number
 */
THINP_API const char *thinp_check_part_name(int part);

/** The name of a severity, for example "fatal".
 *
 *  @param severity  one of ::thinp_check_severity
 *  @return static text; "?" for another number
 */
THINP_API const char *thinp_check_severity_name(int severity);

#ifdef __cplusplus
}
#endif
#endif
