/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/image_text.h - receives the text of a dump.
 */
#ifndef TP_TEST_IMAGE_TEXT_H
#define TP_TEST_IMAGE_TEXT_H

#include <stddef.h>

struct image_text {
	char *text; /* what has come, ended by a NUL byte; NULL: nothing yet */
	size_t len;
	size_t nr_calls;
	size_t fail_at; /* the call, counted from 1, that returns fail_with; 0: none */
	int fail_with;
};

/* A thinp_dump_write_fn. Fails the test when it is called once more after it has failed, or with no bytes. */
int image_text_take(void *ctx, const char *text, size_t nbytes);

/* Forgets the text. */
void image_text_free(struct image_text *text);

#endif
