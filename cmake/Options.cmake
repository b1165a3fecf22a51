# SPDX-License-Identifier: BSD-3-Clause
# What can be chosen. Libraries that others keep have their own options in Libraries.cmake; cmake/Summary.cmake tells at
# the end of every configure run what came of it.
option(THINP_BUILD_CHECK "Build libthinp-check: dump" ON)
option(THINP_BUILD_TESTS "Build the tests (needs cmocka)" ON)
option(THINP_BUILD_BENCH "Build the benchmarks (needs Google Benchmark and a C++ compiler)" OFF)
option(THINP_WERROR "Turn warnings into errors" OFF)
option(THINP_COVERAGE "Build for gcov" OFF)
option(THINP_FUZZ "Build the fuzz targets for libFuzzer (needs clang)" OFF)
set(THINP_SANITIZE "" CACHE STRING "Sanitizers to build with, for example address,undefined")

# Hiding the internals of a static library means linking its objects into one and making hidden symbols local there.
# Instrumented objects are left as they are: their hidden symbols are part of how the instrumentation works.
if(THINP_SANITIZE OR THINP_COVERAGE OR THINP_FUZZ OR CMAKE_INTERPROCEDURAL_OPTIMIZATION OR NOT CMAKE_OBJCOPY)
  set(THINP_HIDE_STATIC OFF)
else()
  set(THINP_HIDE_STATIC ON)
endif()
if(THINP_FUZZ AND NOT CMAKE_C_COMPILER_ID MATCHES Clang)
  message(FATAL_ERROR "THINP_FUZZ needs clang, which brings libFuzzer; the compiler is ${CMAKE_C_COMPILER}")
endif()
