/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/error.h - how the library's own code reports a failure.
 *
 * The detail is written where the fault is seen; above that, the code is passed up unchanged.
 */
#ifndef TP_BASE_ERROR_H
#define TP_BASE_ERROR_H

#include "base/private.h"

#include <thinp/error.h>

#if defined(__GNUC__)
#define TP_PRINTF(format_at, args_at) __attribute__((format(printf, format_at, args_at), cold))
#define TP_MUST_USE                   __attribute__((warn_unused_result))
#else
#define TP_PRINTF(format_at, args_at)
#define TP_MUST_USE
#endif

/* Writes the thread's detail record and returns code. block: the block concerned or THINP_NO_BLOCK. */
TP_PRIVATE_API int tp_fail(int code, uint64_t block, const char *format, ...) TP_PRINTF(3, 4);

/* The same for a failure of the system: the code is chosen by os_errno (positive), whose text is appended. */
int tp_fail_os(int os_errno, uint64_t block, const char *format, ...) TP_PRINTF(3, 4);

/* Puts back the record that thinp_error_last() gave, for work that may fail without anybody being told: a call that
 * succeeds leaves the record alone. */
TP_PRIVATE_API void tp_error_restore(const struct thinp_error_info *before);

/* The code that stands for an errno (positive). */
int tp_err_from_errno(int os_errno);

#endif
