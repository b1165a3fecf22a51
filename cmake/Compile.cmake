# SPDX-License-Identifier: BSD-3-Clause
# How everything is compiled.
include(CheckCCompilerFlag)

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

add_compile_definitions(_GNU_SOURCE _FILE_OFFSET_BITS=64)
add_compile_options(-Wall -Wextra -Wpedantic -Wconversion -Wshadow)
add_compile_options($<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes> $<$<COMPILE_LANGUAGE:C>:-Wmissing-prototypes>)
if(THINP_WERROR)
  add_compile_options(-Werror)
endif()

# Calls from the library to its own exported functions are ordinary calls: they may be inlined, and go past the PLT.
check_c_compiler_flag(-fno-semantic-interposition THINP_HAVE_NO_SEMANTIC_INTERPOSITION)
if(THINP_HAVE_NO_SEMANTIC_INTERPOSITION)
  add_compile_options(-fno-semantic-interposition)
endif()

# Copies of whole blocks go to the C library. gcc would make `rep movsq` of them, for it knows their size, and nothing behind
# that instruction begins before it has ended: a block that is in no cache of the processor would hold up all that follows.
check_c_compiler_flag(-mmemcpy-strategy=libcall:-1:noalign THINP_HAVE_MEMCPY_STRATEGY)
if(THINP_HAVE_MEMCPY_STRATEGY)
  add_compile_options($<$<COMPILE_LANGUAGE:C>:-mmemcpy-strategy=libcall:-1:noalign>)
endif()

# One section per function, so that who links the static library with --gc-sections pays only for what is used.
add_compile_options(-ffunction-sections -fdata-sections)

if(THINP_SANITIZE)
  add_compile_options(-fsanitize=${THINP_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${THINP_SANITIZE})
endif()
if(THINP_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(THINP_COVERAGE)
  add_compile_options(--coverage)
  add_link_options(--coverage)
  if(CMAKE_C_COMPILER_ID STREQUAL GNU)
    add_compile_options(-fprofile-abs-path -fprofile-update=atomic)
  endif()
endif()
