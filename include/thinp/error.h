/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 *  @brief Error codes, their names and texts, and the detail of the last failure.
 *
 *  A call that can fail returns `int`: 0, or one negative code of ::thinp_err. What went wrong in detail (which block,
 *  which errno, a sentence) is kept in one record per thread, which thinp_error_last() copies out. Successful calls
 *  leave the record alone, so ask right after the failure, on the same thread.
 */
#ifndef THINP_ERROR_H
#define THINP_ERROR_H

#include <thinp/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Every code the library returns. Values never change and are never used again for something else. They start
 *  below -10000, so that a raw negative errno (never below -4095) cannot be taken for one of them. */
enum thinp_err {
	THINP_OK = 0,                /**< success */
	THINP_ENOMEM = -10001,       /**< no memory, or every buffer of the block cache is pinned */
	THINP_EIO = -10002,          /**< the device failed to read, write or flush */
	THINP_ENOSPC = -10003,       /**< no space left */
	THINP_ECORRUPT = -10004,     /**< a block holds what it must not hold; the detail names block and reason */
	THINP_EINVAL = -10005,       /**< an argument the function does not take */
	THINP_ENOTSUP = -10006,      /**< valid, but not something this version or this device can do */
	THINP_EBUSY = -10007,        /**< somebody else has it open */
	THINP_ENODATA = -10008,      /**< no such key, entry or mapping */
	THINP_ENOENT = -10009,       /**< no such file, device or metadata snapshot */
	THINP_EACCES = -10010,       /**< the system refused access */
	THINP_EROFS = -10011,        /**< the handle is read-only */
	THINP_ERANGE = -10012,       /**< a block or number beyond the limit */
	THINP_ECANCELED = -10013,    /**< not done: a callback asked to stop, or an earlier step failed */
	THINP_EUNFORMATTED = -10014, /**< block 0 is all zero: there has never been a pool here */
	THINP_EFORKED = -10015,      /**< the handle was opened by the parent of this process */
	THINP_EUNKNOWN = -10016,     /**< a commit failed in its last step: only opening again tells if it counts */
	THINP_EREFCOUNT =
		-10017, /**< a reference count would leave its range, or a queue lost or reordered operations */
	THINP_EMUSTABORT = -10018,  /**< a change failed half way: the transaction can only be aborted */
	THINP_ESTALE = -10019,      /**< what it shows has changed since */
	THINP_EEXIST = -10020,      /**< there is one already */
	THINP_ENEEDSCHECK = -10021, /**< the metadata must be checked before it is changed */
	THINP_EWOULDBLOCK = -10022, /**< not in memory: only a call that may wait for the device can tell */
};

/** What is known of the last failure on this thread. */
struct thinp_error_info {
	size_t size;       /**< sizeof(struct thinp_error_info), set by the caller */
	int32_t code;      /**< one of ::thinp_err; 0 when nothing has failed yet */
	int32_t os_errno;  /**< the system's errno, or 0 when the system had no part in it */
	uint64_t block;    /**< the block concerned, or #THINP_NO_BLOCK */
	char message[168]; /**< a sentence, ended by a NUL byte */
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_error_info) == 192, "published layout, version 1");

/** Explain a code in a few words.
 *
 *  @param err  any number; unknown ones get a text that says so
 *  @return static text
 */
THINP_API const char *thinp_strerror(int err);

/** The name of a code, for example "THINP_ENOSPC".
 *
 *  @param err  any number
 *  @return static text; "THINP_E?" for a number that is no code
 */
THINP_API const char *thinp_err_name(int err);

/** The errno that comes closest to a code, for exit codes and for programs that speak errno.
 *
 *  @param err  a code
 *  @return a positive errno; 0 for #THINP_OK, EINVAL for a number that is no code
 */
THINP_API int thinp_err_to_errno(int err);

/** Copy out what is known of the last failure of a library call on the calling thread.
 *
 *  @param[in,out] info  `size` set by the caller; at most that many bytes are filled in
 */
THINP_API void thinp_error_last(struct thinp_error_info *info);

/** Write the detail record of the calling thread, for callbacks that want to say more than a code.
 *
 *  @param code     one of ::thinp_err, not 0
 *  @param block    the block concerned, or #THINP_NO_BLOCK
 *  @param message  a sentence; copied, cut at the size of ::thinp_error_info
 *  @return @p code, so that a callback can end with `return thinp_error_report(...)`
 */
THINP_API int thinp_error_report(int code, uint64_t block, const char *message);

#ifdef __cplusplus
}
#endif
#endif
