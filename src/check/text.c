/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/text.c - gathering text.
 */
#include "check/text.h"

void tp_text_flush(struct tp_text *text)
{
	if (text->len && !text->error)
		text->error = text->write(text->ctx, text->buffer, text->len);
	text->len = 0;
}

char *tp_put_string(char *at, const char *string)
{
	size_t len = strlen(string);

	return (char *)memcpy(at, string, len) + len;
}

/* All pairs of digits. */
static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
			    "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
			    "8081828384858687888990919293949596979899";

char *tp_put_number(char *at, uint64_t number)
{
	char digits[20]; /* of 2^64-1 */
	size_t first = sizeof(digits);
	size_t len;

	for (; number >= 100; number /= 100) {
		first -= 2;
		memcpy(digits + first, pairs + number % 100 * 2, 2);
	}
	if (number >= 10) {
		first -= 2;
		memcpy(digits + first, pairs + number * 2, 2);
	} else {
		digits[--first] = (char)('0' + number);
	}
	len = sizeof(digits) - first;
	return (char *)memcpy(at, digits + first, len) + len;
}
