/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/opts.c - structs that begin with their size, across versions.
 */
#include "base/opts.h"

#include "base/bytes.h"
#include "base/error.h"

#include <stdint.h>
#include <string.h>

/* The size field as the caller set it. */
static size_t size_of(const void *object)
{
	size_t size;

	memcpy(&size, object, sizeof(size));
	return size;
}

int tp_opts_take(void *dst, size_t dst_size, const void *src)
{
	size_t src_size = src ? size_of(src) : 0;
	size_t common = src_size < dst_size ? src_size : dst_size;

	if (src && src_size < sizeof(size_t))
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "the size field of an option struct is not set");
	if (src_size > dst_size && !tp_is_zero((const uint8_t *)src + dst_size, src_size - dst_size))
		return tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK,
			       "an option struct asks for something this library is too old for");
	memset(dst, 0, dst_size);
	if (common)
		memcpy(dst, src, common);
	memcpy(dst, &dst_size, sizeof(dst_size));
	return 0;
}

void tp_result_give(void *dst, const void *src, size_t src_size)
{
	size_t dst_size = size_of(dst);
	size_t common = dst_size < src_size ? dst_size : src_size;

	if (dst_size < sizeof(size_t))
		return;
	memcpy((uint8_t *)dst + sizeof(size_t), (const uint8_t *)src + sizeof(size_t), common - sizeof(size_t));
	if (dst_size > src_size)
		memset((uint8_t *)dst + src_size, 0, dst_size - src_size);
}
