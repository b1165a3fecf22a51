/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 *  @brief The metadata of a pool as text. In the library libthinp-check.
 *
 *  XML and the human readable form are, byte for byte, what thin_dump 0.9.0 prints. JSON is our own.
 */
#ifndef THINP_DUMP_H
#define THINP_DUMP_H

#include <thinp/pool.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What the text looks like. */
enum thinp_dump_format {
	THINP_DUMP_XML = 0,            /**< for thin_restore and other programs */
	THINP_DUMP_HUMAN_READABLE = 1, /**< for people */
	THINP_DUMP_JSON = 2,           /**< one object: "superblock", and "devices" with "mappings" in arrays of
	                                    [virtual begin, data begin, length, time] */
};

#define THINP_DUMP_SKIP_MAPPINGS 1u /**< flag: devices without their mappings */

/** Receives the text, some at a time.
 *
 *  @param ctx     the caller's own pointer
 *  @param text    valid during the callback; not ended by a NUL byte
 *  @param nbytes  at least 1
 *  @return 0 to go on; anything else ends the dump, which returns it
 */
typedef int (*thinp_dump_write_fn)(void *ctx, const char *text, size_t nbytes);

/** Told how far it is, often.
 *
 *  @param ctx    the caller's own pointer
 *  @param done   mappings dumped so far
 *  @param total  mappings to be dumped, as the devices' details have it
 *  @return 0 to go on; anything else ends the dump with #THINP_ECANCELED
 */
typedef int (*thinp_dump_progress_fn)(void *ctx, uint64_t done, uint64_t total);

/** What to dump, and how. */
struct thinp_dump_opts {
	size_t size;                     /**< sizeof(struct thinp_dump_opts), set by the caller */
	uint32_t format;                 /**< one of ::thinp_dump_format */
	uint32_t flags;                  /**< THINP_DUMP_SKIP_MAPPINGS */
	const uint64_t *dev_ids;         /**< dump only these devices, in any order; unknown ones are passed over */
	size_t nr_dev_ids;               /**< 0: all devices */
	thinp_dump_progress_fn progress; /**< NULL: nobody asks */
	void *progress_ctx;              /**< handed to the progress callback */
	const struct thinp_allocator *allocator; /**< NULL: libc */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_dump_opts) == 56, "published layout, version 1");

/** Write the metadata of a pool as text.
 *
 *  Memory is bounded, whatever the size of the pool: 64 KiB for one device, and 20 MiB at most for several, to look but once at
 *  most of what they share. When the metadata is damaged, what came before the damage has been handed to @p write when the
 *  call returns.
 *
 *  @param pool   the pool, or its metadata snapshot
 *  @param opts   NULL: everything, as XML
 *  @param write  receives the text
 *  @param ctx    handed to @p write
 *  @retval 0               done
 *  @retval THINP_ECORRUPT  a block failed its check
 *  @retval THINP_ECANCELED the progress callback ended it
 *  @retval THINP_ENOTSUP   an unknown format or flag
 *  @retval THINP_EIO       the device failed
 *  @retval THINP_ENOMEM    no memory
 *  @return or what @p write returned
 */
THINP_API int thinp_dump(struct thinp_pool *pool, const struct thinp_dump_opts *opts, thinp_dump_write_fn write,
			 void *ctx);

#ifdef __cplusplus
}
#endif
#endif
