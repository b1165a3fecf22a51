/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/findings.c - findings on their way to the caller, and the names of rules and parts.
 */
#include "check/findings.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *thinp_check_severity_name(int severity)
{
	static const char *const names[] = {"?", "fatal", "leak", "meta", "warning", "state"};

	return severity > 0 && severity <= THINP_CHECK_STATE ? names[severity] : "?";
}

const char *thinp_check_part_name(int part)
{
	static const char *const names[] = {
		"?",          "superblock",    "metadata snapshot", "devices",     "details",         "mappings",
		"data index", "data overflow", "metadata overflow", "data bitmap", "metadata bitmap", "metadata index"};

	return part > 0 && part <= THINP_CHECK_METADATA_INDEX ? names[part] : "?";
}

/* A group of rules that are numbered from 1 on. */
struct group {
	const char *const *names;
	int nr;
};

static const char *const sb_names[] = {"SB1",  "SB2",  "SB3",  "SB4",  "SB5",  "SB6",  "SB7",  "SB8",  "SB9",
				       "SB10", "SB11", "SB12", "SB13", "SB14", "SB15", "SB16", "SB17", "SB18"};
static const char *const bl_names[] = {"BL1", "BL2", "BL3", "BL4", "BL5", "BL6"};
static const char *const n_names[] = {"N1", "N2", "N3", "N4", "N5", "N6", "N7", "N8", "N9", "N10", "N11", "N12", "N13"};
static const char *const sm_names[] = {"SM1", "SM2", "SM3", "SM4", "SM5", "SM6", "SM7", "SM8", "SM9", "SM10", "SM11"};
static const char *const d_names[] = {"D1", "D2", "D3", "D4", "D5", "D6", "D7", "D8", "D9", "D10"};
static const char *const h_names[] = {"H1", "H2", "H3"};

#define GROUP(names)                                                                                                   \
	{                                                                                                              \
		names, sizeof(names) / sizeof((names)[0])                                                              \
	}

static const struct group groups[] = {GROUP(sb_names), GROUP(bl_names), GROUP(n_names),
				      GROUP(sm_names), GROUP(d_names),  GROUP(h_names)};

const char *thinp_check_rule_name(int rule)
{
	int group = rule / 100 - 1;
	int number = rule % 100 - 1;

	if (rule < 100 || group >= (int)(sizeof(groups) / sizeof(groups[0])) || number < 0 ||
	    number >= groups[group].nr)
		return "?";
	return groups[group].names[number];
}

struct tp_finding tp_finding(int rule, int severity, int part, uint64_t block)
{
	struct tp_finding finding = {
		.rule = rule,
		.severity = severity,
		.part = part,
		.block = block,
		.device = THINP_CHECK_NONE,
		.begin = THINP_CHECK_NONE,
		.end = THINP_CHECK_NONE,
		.stored = THINP_CHECK_NONE,
		.expected = THINP_CHECK_NONE,
	};

	return finding;
}

static int compare_numbers(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int compare(const void *a, const void *b)
{
	const struct tp_finding *x = a;
	const struct tp_finding *y = b;
	int r = compare_numbers((uint64_t)x->rule, (uint64_t)y->rule);

	if (!r)
		r = compare_numbers(x->block, y->block);
	if (!r)
		r = compare_numbers(x->begin, y->begin);
	if (!r)
		r = compare_numbers(x->device, y->device);
	if (!r)
		r = compare_numbers((uint64_t)x->part, (uint64_t)y->part);
	return r ? r : strcmp(x->text, y->text);
}

/* The highest one of a rule, which is the one to give way. */
static struct tp_finding *highest(struct tp_finder *finder, int rule)
{
	struct tp_finding *found = NULL;

	for (size_t i = 0; i < finder->nr_kept; i++)
		if (finder->kept[i].rule == rule && (!found || compare(&finder->kept[i], found) > 0))
			found = &finder->kept[i];
	return found;
}

static void keep(struct tp_finder *finder, const struct tp_finding *finding)
{
	uint32_t *nr = &finder->nr_of_rule[finding->rule];

	if (*nr >= finder->limit) {
		struct tp_finding *last = highest(finder, finding->rule);

		if (last && compare(finding, last) < 0)
			*last = *finding;
		return;
	}
	if (!tp_memory_grow(finder->memory, (void **)&finder->kept, finder->nr_kept, 1, &finder->room,
			    sizeof(*finder->kept))) {
		finder->is_short = true;
		return;
	}
	finder->kept[finder->nr_kept++] = *finding;
	(*nr)++;
}

/* Of these, what lies behind the damaged place cannot be counted. */
static bool hides_references(int rule)
{
	return rule / 100 == THINP_CHECK_BL1 / 100 || rule / 100 == THINP_CHECK_N1 / 100 || rule == THINP_CHECK_SB14 ||
	       rule == THINP_CHECK_SM1 || rule == THINP_CHECK_SM2 || rule == THINP_CHECK_D6 || rule == THINP_CHECK_H1;
}

void tp_found(struct tp_finder *finder, const struct tp_finding *finding, const char *format, ...)
{
	struct tp_finding full = *finding;
	va_list args;

	finder->nr_of_severity[finding->severity]++;
	finder->nr_underfull += finding->rule == THINP_CHECK_N7;
	if (finding->severity == THINP_CHECK_FATAL && hides_references(finding->rule))
		finder->broken |= 1u << finding->part;
	va_start(args, format);
	vsnprintf(full.text, sizeof(full.text), format, args);
	va_end(args);
	keep(finder, &full);
}

void tp_finder_join(struct tp_finder *to, struct tp_finder *from)
{
	for (size_t i = 0; i < from->nr_kept; i++)
		keep(to, &from->kept[i]);
	for (size_t i = 0; i <= THINP_CHECK_STATE; i++)
		to->nr_of_severity[i] += from->nr_of_severity[i];
	to->nr_underfull += from->nr_underfull;
	to->broken |= from->broken;
	to->is_short |= from->is_short;
	tp_finder_exit(from);
	memset(from->nr_of_severity, 0, sizeof(from->nr_of_severity));
	from->nr_underfull = 0;
}

static int tell(const struct tp_finding *kept, thinp_check_finding_fn fn, void *ctx)
{
	const struct thinp_check_finding finding = {
		.size = sizeof(finding),
		.severity = kept->severity,
		.rule = kept->rule,
		.part = kept->part,
		.block = kept->block,
		.device = kept->device,
		.begin = kept->begin,
		.end = kept->end,
		.stored = kept->stored,
		.expected = kept->expected,
		.name = thinp_check_rule_name(kept->rule),
		.text = kept->text,
	};

	return fn(ctx, &finding);
}

int tp_finder_tell(struct tp_finder *finder, thinp_check_finding_fn fn, void *ctx)
{
	int r = finder->is_short ? THINP_ENOMEM : 0;

	if (finder->nr_kept)
		qsort(finder->kept, finder->nr_kept, sizeof(*finder->kept), compare);
	for (size_t i = 0; !r && fn && i < finder->nr_kept; i++)
		r = tell(&finder->kept[i], fn, ctx);
	finder->nr_kept = 0;
	memset(finder->nr_of_rule, 0, sizeof(finder->nr_of_rule));
	return r;
}

void tp_finder_exit(struct tp_finder *finder)
{
	tp_memory_put(finder->memory, finder->kept, finder->room, sizeof(*finder->kept));
	finder->kept = NULL;
	finder->nr_kept = 0;
	finder->room = 0;
	finder->is_short = false;
	finder->broken = 0;
	memset(finder->nr_of_rule, 0, sizeof(finder->nr_of_rule));
}
