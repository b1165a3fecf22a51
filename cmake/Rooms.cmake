# SPDX-License-Identifier: BSD-3-Clause
# A room is a static library of its own, so that a unit test can link a room and the rooms below it, and nothing above.
# What a room may include is read from src/ROOMS; every room stands on base. The installed libraries are made of the
# same objects (Products.cmake), so that every source is compiled once.

# thinp_room_field(ROOM NUMBER VARIABLE): one field of the room's line in src/ROOMS, as a list. 1: rooms, 2: headers.
function(thinp_room_field room number variable)
  file(STRINGS ${CMAKE_SOURCE_DIR}/src/ROOMS line REGEX "^${room} *:")
  if(NOT line)
    message(FATAL_ERROR "src/ROOMS has no line for the room ${room}")
  endif()
  string(REGEX REPLACE " *: *" ";" fields "${line}:")
  list(GET fields ${number} field)
  separate_arguments(field)
  set(${variable} "${field}" PARENT_SCOPE)
endfunction()

# thinp_add_room(NAME LIBRARIES...): the room src/NAME, with the libraries that only it needs.
function(thinp_add_room room)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${room}/*.c)
  add_library(room_${room} STATIC ${sources})
  target_include_directories(room_${room} PUBLIC ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR}/src)
  thinp_room_field(${room} 1 below)
  if(NOT room STREQUAL base)
    list(APPEND below base)
  endif()
  list(TRANSFORM below PREPEND room_)
  target_link_libraries(room_${room} PUBLIC ${below} ${ARGN})
endfunction()
