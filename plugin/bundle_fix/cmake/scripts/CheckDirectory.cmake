# _bundle_fix_check(): run `bundle-fix check` in CPack's scripts. CPack prints messages but discards
# the output of processes, so the report is returned to the caller.
#
#   CPACK_BUNDLE_FIX_COMMAND        the tool, a list
#   CPACK_BUNDLE_FIX_SPEC           the spec, or empty
#   CPACK_BUNDLE_FIX_WORK           the build's directory with the values of the spec's variables
#   CPACK_BUNDLE_FIX_HOST_PROVIDES  libraries that the target has
include("${CMAKE_CURRENT_LIST_DIR}/FindElfOutside.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/Wording.cmake")

function(_bundle_fix_check artifact result report)
  set(options --color never)
  if(CPACK_BUNDLE_FIX_SPEC)
    list(APPEND options --spec "${CPACK_BUNDLE_FIX_SPEC}")
    # Multi-configuration generators write one list per configuration, others one named "one".
    foreach(config one ${CPACK_BUILD_CONFIG})
      if(EXISTS "${CPACK_BUNDLE_FIX_WORK}/${config}.defines")
        list(APPEND options -D "@${CPACK_BUNDLE_FIX_WORK}/${config}.defines")
        break()
      endif()
    endforeach()
  else()
    list(APPEND options --host-like-this)
  endif()
  foreach(name IN LISTS CPACK_BUNDLE_FIX_HOST_PROVIDES)
    list(APPEND options --host-provides "${name}")
  endforeach()
  _bundle_fix_find_prefix_directory(artifact "${artifact}")
  execute_process(COMMAND ${CPACK_BUNDLE_FIX_COMMAND} check "${artifact}" ${options}
                  RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  set(${result} "${status}" PARENT_SCOPE)
  _bundle_fix_use_cmake_words(output "${output}")
  set(${report} "${output}" PARENT_SCOPE)
endfunction()

# Return the install prefix inside the packages, or an empty string for the root directory.
function(_bundle_fix_find_package_prefix result)
  set(prefix "${CPACK_PACKAGING_INSTALL_PREFIX}")
  if(CPACK_SET_DESTDIR)
    set(prefix "${CPACK_INSTALL_PREFIX}")
  endif()
  string(REGEX REPLACE "/+$" "" prefix "${prefix}")
  set(${result} "${prefix}" PARENT_SCOPE)
endfunction()

# Return the directory of the package prefix in DIRECTORY if all ELF files are below it, else
# DIRECTORY: paths in the spec are relative to the prefix, as in an installation.
function(_bundle_fix_find_prefix_directory result directory)
  _bundle_fix_find_package_prefix(prefix)
  set(${result} "${directory}" PARENT_SCOPE)
  if(prefix AND IS_DIRECTORY "${directory}${prefix}")
    file(GLOB_RECURSE files RELATIVE "${directory}" "${directory}/*")
    list(TRANSFORM files PREPEND "/")
    _bundle_fix_find_elf_outside(outside "${directory}" "${prefix}" ${files})
    if(NOT outside)
      set(${result} "${directory}${prefix}" PARENT_SCOPE)
    endif()
  endif()
endfunction()
