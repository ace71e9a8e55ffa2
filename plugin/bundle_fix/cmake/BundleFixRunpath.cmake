# bundle_fix_runpath(): targets that need no mending.
include_guard(GLOBAL)

# bundle_fix_runpath([TARGETS] target... [RUNTIME folder] [LIBRARY folder])
#
# Gives programs the RUNPATH that leads from RUNTIME, where they are installed
# (CMAKE_INSTALL_BINDIR, or bin), to LIBRARY, where libraries are (CMAKE_INSTALL_LIBDIR, or lib), and
# libraries the one that leads to those beside them. In the build tree paths are relative as well.
function(bundle_fix_runpath)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "RUNTIME;LIBRARY" "TARGETS")
  _bundle_fix_check_arguments(bundle_fix_runpath "" "${arg_KEYWORDS_MISSING_VALUES}")
  _bundle_fix_install_folder(runtime "${arg_RUNTIME}" "${CMAKE_INSTALL_BINDIR}" bin)
  _bundle_fix_install_folder(library "${arg_LIBRARY}" "${CMAKE_INSTALL_LIBDIR}" lib)
  file(RELATIVE_PATH way "${runtime}" "${library}")
  set(of_programs "\$ORIGIN")
  if(way)
    string(APPEND of_programs "/${way}")
  endif()
  string(REGEX REPLACE "/$" "" of_programs "${of_programs}")
  foreach(target IN LISTS arg_UNPARSED_ARGUMENTS arg_TARGETS)
    if(NOT TARGET ${target})
      message(FATAL_ERROR "bundle_fix_runpath(): there is no target ${target}")
    endif()
    get_target_property(real ${target} ALIASED_TARGET)
    if(real)
      set(target ${real})
    endif()
    get_target_property(kind ${target} TYPE)
    if(kind STREQUAL "EXECUTABLE")
      set(path "${of_programs}")
    elseif(kind MATCHES "^(SHARED|MODULE)_LIBRARY$")
      set(path "\$ORIGIN")
    else()
      continue()
    endif()
    set_target_properties(${target} PROPERTIES
      INSTALL_RPATH "${path}"
      BUILD_RPATH "${path}"
      BUILD_RPATH_USE_ORIGIN TRUE)
    # Not every linker writes a RUNPATH, and no RPATH, unless it is told to.
    target_link_options(${target} PRIVATE "LINKER:--enable-new-dtags")
  endforeach()
endfunction()

# An install folder as an absolute path: the first that is given, below a prefix where it is
# relative to one.
function(_bundle_fix_install_folder result)
  foreach(folder IN LISTS ARGN)
    if(folder)
      get_filename_component(folder "${folder}" ABSOLUTE BASE_DIR "${CMAKE_INSTALL_PREFIX}")
      set(${result} "${folder}" PARENT_SCOPE)
      return()
    endif()
  endforeach()
endfunction()
