/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/text.h - text on its way to the caller, gathered in a buffer. Numbers are the bulk of a dump, so they are
 * written by hand here: four digits for each division.
 */
#ifndef TP_CHECK_TEXT_H
#define TP_CHECK_TEXT_H

#include <thinp/dump.h>

#include <string.h>

#define TP_TEXT_SIZE 32768u
#define TP_TEXT_LINE 256u /* longer than any line that is written in one go */

struct tp_text {
	thinp_dump_write_fn write;
	void *ctx;
	int error; /* the first non-zero result of write(); nothing is written after it */
	size_t len;
	char buffer[TP_TEXT_SIZE];
};

void tp_text_flush(struct tp_text *text);

/* Makes room for a line, and gives where to write it. */
static inline char *tp_text_line(struct tp_text *text)
{
	if (text->len + TP_TEXT_LINE > TP_TEXT_SIZE)
		tp_text_flush(text);
	return text->buffer + text->len;
}

/* Ends a line that was written from tp_text_line() to end. */
static inline void tp_text_took(struct tp_text *text, const char *end)
{
	text->len = (size_t)(end - text->buffer);
}

#define tp_put_literal(at, literal) ((char *)memcpy(at, literal, sizeof(literal) - 1) + sizeof(literal) - 1)

/* Text of any length. */
void tp_text_put(struct tp_text *text, const char *more, size_t len);

char *tp_put_string(char *at, const char *string);
char *tp_put_number(char *at, uint64_t number);

#endif
