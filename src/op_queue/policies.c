/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * op_queue/policies.c - the library's policies by their names.
 */
#include "op_queue/policies.h"

#include <string.h>

const struct thinp_opq_policy *thinp_opq_policy_by_name(const char *name)
{
	static const struct thinp_opq_policy *const policies[] = {
		&tp_opq_fifo,
		&tp_opq_coalescing,
		&tp_opq_sorted,
		&tp_opq_lifo,
	};

	for (size_t i = 0; name && i < sizeof(policies) / sizeof(policies[0]); i++)
		if (strcmp(policies[i]->name, name) == 0)
			return policies[i];
	return NULL;
}
