# bundle_fix_runpath(): link targets with the RUNPATH that they need.
include_guard(GLOBAL)

# bundle_fix_runpath([TARGETS] target... [RUNTIME directory] [LIBRARY directory])
#
# Set the RUNPATH of programs to the path from RUNTIME to LIBRARY, and the RUNPATH of libraries to
# $ORIGIN. RUNTIME is the install directory of programs (by default CMAKE_INSTALL_BINDIR, or bin),
# and LIBRARY that of libraries (by default CMAKE_INSTALL_LIBDIR, or lib). RUNPATHs in the build
# tree become relative too.
function(bundle_fix_runpath)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "RUNTIME;LIBRARY" "TARGETS")
  _bundle_fix_check_arguments(bundle_fix_runpath "" "${arg_KEYWORDS_MISSING_VALUES}")
  _bundle_fix_resolve_install_directory(runtime "${arg_RUNTIME}" "${CMAKE_INSTALL_BINDIR}" bin)
  _bundle_fix_resolve_install_directory(library "${arg_LIBRARY}" "${CMAKE_INSTALL_LIBDIR}" lib)
  file(RELATIVE_PATH relative "${runtime}" "${library}")
  set(program_runpath "\$ORIGIN")
  if(relative)
    string(APPEND program_runpath "/${relative}")
  endif()
  string(REGEX REPLACE "/$" "" program_runpath "${program_runpath}")
  foreach(target IN LISTS arg_UNPARSED_ARGUMENTS arg_TARGETS)
    if(NOT TARGET ${target})
      message(FATAL_ERROR "bundle_fix_runpath(): target not found: ${target}")
    endif()
    get_target_property(real ${target} ALIASED_TARGET)
    if(real)
      set(target ${real})
    endif()
    get_target_property(kind ${target} TYPE)
    if(kind STREQUAL "EXECUTABLE")
      set(runpath "${program_runpath}")
    elseif(kind MATCHES "^(SHARED|MODULE)_LIBRARY$")
      set(runpath "\$ORIGIN")
    else()
      continue()
    endif()
    set_target_properties(${target} PROPERTIES
      INSTALL_RPATH "${runpath}"
      BUILD_RPATH "${runpath}"
      BUILD_RPATH_USE_ORIGIN TRUE)
    # Without this option some linkers write DT_RPATH, which precedes LD_LIBRARY_PATH and applies to
    # dependencies (ld.so(8)).
    target_link_options(${target} PRIVATE "LINKER:--enable-new-dtags")
  endforeach()
endfunction()

# Return the first directory of the arguments that is not empty, as an absolute path; a relative one
# is below the install prefix.
function(_bundle_fix_resolve_install_directory result)
  foreach(directory IN LISTS ARGN)
    if(directory)
      get_filename_component(directory "${directory}" ABSOLUTE
                             BASE_DIR "${CMAKE_INSTALL_PREFIX}")
      set(${result} "${directory}" PARENT_SCOPE)
      return()
    endif()
  endforeach()
endfunction()
