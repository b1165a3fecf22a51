/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 *  @brief Which version of the library this is, when compiling and when running.
 */
#ifndef THINP_VERSION_H
#define THINP_VERSION_H

#include <thinp/types.h>

#define THINP_VERSION_MAJOR 0 /**< rises with incompatible changes */
#define THINP_VERSION_MINOR 1 /**< rises with additions */
#define THINP_VERSION_PATCH 0 /**< rises with repairs */

#ifdef __cplusplus
extern "C" {
#endif

/** The version of the library that the program runs with, for example "0.1.0".
 *
 *  @return static text
 */
THINP_API const char *thinp_version(void);

#ifdef __cplusplus
}
#endif
#endif
