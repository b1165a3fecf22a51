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

void tp_text_put(struct tp_text *text, const char *more, size_t len)
{
	while (len) {
		size_t room = TP_TEXT_SIZE - text->len;
		size_t part = len < room ? len : room;

		memcpy(text->buffer + text->len, more, part);
		text->len += part;
		more += part;
		len -= part;
		if (text->len == TP_TEXT_SIZE)
			tp_text_flush(text);
	}
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

static void put_pair(char *at, uint32_t number)
{
	memcpy(at, pairs + 2 * (size_t)number, 2);
}

static size_t nr_digits(uint64_t number)
{
	size_t nr = 1;

	for (; number >= 10000; number /= 10000)
		nr += 4;
	return nr + (number >= 10) + (number >= 100) + (number >= 1000);
}

/* Four digits for each division of the whole number. They go where they belong: to gather them elsewhere and to copy them would
 * be a wait for the smaller stores before each larger load. */
char *tp_put_number(char *at, uint64_t number)
{
	char *end = at + nr_digits(number);
	uint32_t rest;

	for (at = end; number >= 10000; number /= 10000) {
		rest = (uint32_t)(number % 10000);
		at -= 4;
		put_pair(at, rest / 100);
		put_pair(at + 2, rest % 100);
	}
	rest = (uint32_t)number;
	if (rest >= 100) {
		at -= 2;
		put_pair(at, rest % 100);
		rest /= 100;
	}
	if (rest >= 10)
		put_pair(at - 2, rest);
	else
		at[-1] = (char)('0' + rest);
	return end;
}
