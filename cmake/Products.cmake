# SPDX-License-Identifier: BSD-3-Clause
# The libraries that are installed, each shared and static, made of the objects of the rooms.

# thinp_join_objects(FILE ROOM...): link the objects of the rooms into one, FILE, and make their hidden symbols local.
function(thinp_join_objects file)
  list(TRANSFORM ARGN REPLACE "(.+)" "$<TARGET_OBJECTS:room_\\1>" OUTPUT_VARIABLE objects)
  list(TRANSFORM ARGN PREPEND room_ OUTPUT_VARIABLE targets)
  add_custom_command(OUTPUT ${file}
    COMMAND ${CMAKE_C_COMPILER} -r -nostdlib -o ${file} ${objects}
    COMMAND ${CMAKE_OBJCOPY} --localize-hidden ${file}
    DEPENDS ${targets} ${objects} COMMENT "Joining objects into ${file}" COMMAND_EXPAND_LISTS VERBATIM)
  set_source_files_properties(${file} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
endfunction()

# thinp_add_library(NAME EXPORT_NAME name MAP file ROOMS room... NEEDS library... HIDDEN_NEEDS library...)
#
#   targets NAME and NAME-static, known as libthinp::EXPORT_NAME and libthinp::EXPORT_NAME-static
#   NEEDS         libraries that its headers speak of; the static one gets their -static twin
#   HIDDEN_NEEDS  libraries that only its code uses
function(thinp_add_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "EXPORT_NAME;MAP" "ROOMS;NEEDS;HIDDEN_NEEDS")
  string(REGEX REPLACE "^lib" "" output_name ${name})
  list(TRANSFORM arg_ROOMS REPLACE "(.+)" "$<TARGET_OBJECTS:room_\\1>" OUTPUT_VARIABLE objects)

  add_library(${name} SHARED ${objects})
  set_target_properties(${name} PROPERTIES
    VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR} LINK_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${arg_MAP})
  target_link_options(${name} PRIVATE
    LINKER:--version-script=${CMAKE_CURRENT_SOURCE_DIR}/${arg_MAP} LINKER:-Bsymbolic-functions)
  if(NOT THINP_SANITIZE) # clang links the sanitizers' runtime into programs only
    target_link_options(${name} PRIVATE LINKER:--no-undefined)
  endif()
  target_link_libraries(${name} PUBLIC ${arg_NEEDS} PRIVATE ${arg_HIDDEN_NEEDS})

  if(THINP_HIDE_STATIC)
    set(joined ${CMAKE_CURRENT_BINARY_DIR}/${name}.o)
    thinp_join_objects(${joined} ${arg_ROOMS})
    set(objects ${joined})
  endif()
  add_library(${name}-static STATIC ${objects})
  list(TRANSFORM arg_NEEDS APPEND -static)
  target_link_libraries(${name}-static PUBLIC ${arg_NEEDS} PRIVATE ${arg_HIDDEN_NEEDS})

  foreach(suffix IN ITEMS "" -static)
    add_library(libthinp::${arg_EXPORT_NAME}${suffix} ALIAS ${name}${suffix})
    set_target_properties(${name}${suffix} PROPERTIES
      OUTPUT_NAME ${output_name} EXPORT_NAME ${arg_EXPORT_NAME}${suffix} LINKER_LANGUAGE C)
    target_include_directories(${name}${suffix} INTERFACE
      $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  endforeach()
endfunction()
