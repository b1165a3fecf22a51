/* SPDX-License-Identifier: BSD-3-Clause */
#include <thinp/version.h>

#define TEXT_OF(number) #number
#define AS_TEXT(number) TEXT_OF(number)

const char *thinp_version(void)
{
	return AS_TEXT(THINP_VERSION_MAJOR) "." AS_TEXT(THINP_VERSION_MINOR) "." AS_TEXT(THINP_VERSION_PATCH);
}
