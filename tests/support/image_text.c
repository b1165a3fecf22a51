/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/image_text.c - receives the text of a dump.
 */
#include "support/image_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

int image_text_take(void *ctx, const char *text, size_t nbytes)
{
	struct image_text *all = ctx;

	assert_true(nbytes > 0);
	assert_true(!all->fail_at || all->nr_calls < all->fail_at);
	if (++all->nr_calls == all->fail_at)
		return all->fail_with;
	all->text = realloc(all->text, all->len + nbytes + 1);
	assert_non_null(all->text);
	memcpy(all->text + all->len, text, nbytes);
	all->len += nbytes;
	all->text[all->len] = '\0';
	return 0;
}

void image_text_free(struct image_text *text)
{
	free(text->text);
	*text = (struct image_text){.text = NULL};
}
