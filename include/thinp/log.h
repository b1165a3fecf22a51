/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 *  @brief The log callback. The library never prints; it tells the caller's function, or nobody.
 */
#ifndef THINP_LOG_H
#define THINP_LOG_H

#include <thinp/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/** How serious a record is. */
enum thinp_log_level {
	THINP_LOG_ERROR = 1,   /**< something failed */
	THINP_LOG_WARNING = 2, /**< something is odd, and the work goes on */
	THINP_LOG_INFO = 3,    /**< worth knowing */
};

/** One thing the library has to say. All pointers are valid only during the callback. */
struct thinp_log_record {
	size_t size;      /**< sizeof(struct thinp_log_record), set by the library */
	int32_t level;    /**< one of ::thinp_log_level */
	int32_t code;     /**< one of ::thinp_err, 0 when it is no failure */
	uint64_t block;   /**< the block concerned, or #THINP_NO_BLOCK */
	const char *room; /**< the part of the library that speaks, for example "thin" */
	const char *text; /**< a sentence without a line end */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_log_record) == 40, "published layout, version 1");

/** Receives the library's messages.
 *
 *  Called on the thread that makes the library call, on several threads at once when several make calls. It must not
 *  call back into the handle that it hears from.
 *
 *  @param ctx  the caller's own pointer
 *  @param rec  the record
 */
typedef void (*thinp_log_fn)(void *ctx, const struct thinp_log_record *rec);

#ifdef __cplusplus
}
#endif
#endif
