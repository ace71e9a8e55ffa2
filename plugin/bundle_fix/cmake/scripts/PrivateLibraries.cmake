# _bundle_fix_hide_private_libraries(): let RPM packages neither provide nor require the sonames of
# private libraries. CheckStaging.cmake includes this; CheckDirectory.cmake is included before.
#
#   CPACK_BUNDLE_FIX_LIBDIR  the directory of the private libraries, relative to the prefix

# Return TEXT as a regular expression. It has no backslashes, which macros of rpm would remove.
function(_bundle_fix_quote_regex result text)
  string(REGEX REPLACE "([+.*()?|{}])" "[\\1]" text "${text}")
  set(${result} "${text}" PARENT_SCOPE)
endfunction()

# Return the path of the private directory in the packages.
function(_bundle_fix_find_private_directory result)
  _bundle_fix_find_package_prefix(prefix)
  get_filename_component(directory "${CPACK_BUNDLE_FIX_LIBDIR}" ABSOLUTE BASE_DIR "${prefix}/")
  set(${result} "${directory}" PARENT_SCOPE)
endfunction()

# Without the exclusions, rpm would add `Provides: libssl.so.3()(64bit)` for a private library, and
# install the package for any other package that needs libssl.so.3 (rpm's file attributes,
# __provides_exclude_from and __requires_exclude).
function(_bundle_fix_hide_private_libraries)
  _bundle_fix_find_private_directory(private)
  file(GLOB_RECURSE files RELATIVE "${CPACK_TEMPORARY_DIRECTORY}" "${CPACK_TEMPORARY_DIRECTORY}/*")
  set(names "")
  foreach(path IN LISTS files)
    # Below the staging directory is the path in the package, or a component and then that path.
    string(FIND "/${path}" "${private}/" position)
    if(NOT position EQUAL -1)
      get_filename_component(name "${path}" NAME)
      _bundle_fix_quote_regex(name "${name}")
      list(APPEND names "${name}")
    endif()
  endforeach()
  if(names)
    list(REMOVE_DUPLICATES names)
    list(JOIN names "|" names)
    _bundle_fix_quote_regex(private "${private}")
    set(more "")
    foreach(exclusion "__provides_exclude_from ^${private}/" "__requires_exclude ^(${names})[(]")
      string(REGEX REPLACE " .*" "" macro "${exclusion}")
      string(REGEX REPLACE "^[^ ]* " "" pattern "${exclusion}")
      string(APPEND more "\n%global ${macro} %{?${macro}:%{${macro}}|}${pattern}")
    endforeach()
    set(CPACK_RPM_SPEC_MORE_DEFINE "${CPACK_RPM_SPEC_MORE_DEFINE}${more}" PARENT_SCOPE)
  endif()
endfunction()
