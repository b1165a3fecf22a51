/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/error.c - codes, their texts, and one detail record per thread.
 *
 * The record has a fixed size, so that recording a failure cannot fail itself.
 */
#include "base/error.h"

#include "base/opts.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local struct thinp_error_info last = {.size = sizeof(last), .block = THINP_NO_BLOCK};

struct err_entry {
	int code;
	int os_errno;
	const char *name;
	const char *text;
};

/* The first entry with an errno is what that errno is translated to. */
static const struct err_entry entries[] = {
	{THINP_OK, 0, "THINP_OK", "success"},
	{THINP_ENOMEM, ENOMEM, "THINP_ENOMEM", "out of memory"},
	{THINP_EIO, EIO, "THINP_EIO", "input/output error"},
	{THINP_ENOSPC, ENOSPC, "THINP_ENOSPC", "no space left"},
	{THINP_ECORRUPT, EILSEQ, "THINP_ECORRUPT", "the metadata is damaged"},
	{THINP_EINVAL, EINVAL, "THINP_EINVAL", "invalid argument"},
	{THINP_ENOTSUP, ENOTSUP, "THINP_ENOTSUP", "not supported"},
	{THINP_EBUSY, EBUSY, "THINP_EBUSY", "in use by somebody else"},
	{THINP_ENODATA, ENODATA, "THINP_ENODATA", "no such entry"},
	{THINP_ENOENT, ENOENT, "THINP_ENOENT", "no such file or object"},
	{THINP_EACCES, EACCES, "THINP_EACCES", "permission denied"},
	{THINP_EROFS, EROFS, "THINP_EROFS", "opened read-only"},
	{THINP_ERANGE, ERANGE, "THINP_ERANGE", "beyond the limit"},
	{THINP_ECANCELED, ECANCELED, "THINP_ECANCELED", "not carried out"},
	{THINP_EUNFORMATTED, ENODATA, "THINP_EUNFORMATTED", "not formatted: block 0 is all zero"},
	{THINP_EFORKED, EPERM, "THINP_EFORKED", "the handle belongs to the parent process"},
	{THINP_EUNKNOWN, EIO, "THINP_EUNKNOWN", "nobody knows which commit the device holds"},
	{THINP_EREFCOUNT, EILSEQ, "THINP_EREFCOUNT", "a reference count is wrong"},
	{THINP_EMUSTABORT, ECANCELED, "THINP_EMUSTABORT", "the transaction can only be aborted"},
	{THINP_ESTALE, ESTALE, "THINP_ESTALE", "what it shows has changed since"},
	{THINP_EEXIST, EEXIST, "THINP_EEXIST", "exists already"},
	{THINP_ENEEDSCHECK, EPERM, "THINP_ENEEDSCHECK", "the metadata must be checked first"},
	{THINP_EWOULDBLOCK, EAGAIN, "THINP_EWOULDBLOCK", "not in memory"},
};

/* Further errnos that have a code of ours; looked at first. */
static const struct {
	int os_errno;
	int code;
} synonyms[] = {
	{EAGAIN, THINP_EBUSY}, {EDQUOT, THINP_ENOSPC}, {EFBIG, THINP_ENOSPC},       {ENOTDIR, THINP_ENOENT},
	{ENXIO, THINP_ENOENT}, {ENODEV, THINP_ENOENT}, {EOPNOTSUPP, THINP_ENOTSUP}, {ENOSYS, THINP_ENOTSUP},
	{EPERM, THINP_EACCES}, {ESTALE, THINP_EIO},    {EEXIST, THINP_EIO},
};

#define NR_OF(array) (sizeof(array) / sizeof((array)[0]))

static const struct err_entry *find(int err)
{
	for (size_t i = 0; i < NR_OF(entries); i++)
		if (entries[i].code == err)
			return &entries[i];
	return NULL;
}

const char *thinp_strerror(int err)
{
	const struct err_entry *e = find(err);

	return e ? e->text : "unknown error code";
}

const char *thinp_err_name(int err)
{
	const struct err_entry *e = find(err);

	return e ? e->name : "THINP_E?";
}

int thinp_err_to_errno(int err)
{
	const struct err_entry *e = find(err);

	return e ? e->os_errno : EINVAL;
}

int tp_err_from_errno(int os_errno)
{
	for (size_t i = 0; i < NR_OF(synonyms); i++)
		if (synonyms[i].os_errno == os_errno)
			return synonyms[i].code;
	for (size_t i = 1; i < NR_OF(entries); i++)
		if (entries[i].os_errno == os_errno)
			return entries[i].code;
	return THINP_EIO;
}

void thinp_error_last(struct thinp_error_info *info)
{
	tp_result_give(info, &last, sizeof(last));
}

static void begin_record(int code, int os_errno, uint64_t block)
{
	last.code = code;
	last.os_errno = os_errno;
	last.block = block;
}

int tp_fail(int code, uint64_t block, const char *format, ...)
{
	va_list args;

	begin_record(code, 0, block);
	va_start(args, format);
	vsnprintf(last.message, sizeof(last.message), format, args);
	va_end(args);
	return code;
}

/* strerror_r has two forms; only its result type tells which one the C library gives. */
static const char *os_text(int os_errno, char *buffer, size_t size)
{
	return _Generic(strerror_r(os_errno, buffer, size), char * : strerror_r(os_errno, buffer, size), int : buffer);
}

int tp_fail_os(int os_errno, uint64_t block, const char *format, ...)
{
	char text[64] = "";
	va_list args;
	int len;

	begin_record(tp_err_from_errno(os_errno), os_errno, block);
	va_start(args, format);
	len = vsnprintf(last.message, sizeof(last.message), format, args);
	va_end(args);
	if (len >= 0 && (size_t)len < sizeof(last.message))
		snprintf(last.message + len, sizeof(last.message) - (size_t)len, ": %s",
			 os_text(os_errno, text, sizeof(text)));
	return last.code;
}

void tp_error_restore(const struct thinp_error_info *before)
{
	last = *before;
}

int thinp_error_report(int code, uint64_t block, const char *message)
{
	return tp_fail(code, block, "%s", message);
}
