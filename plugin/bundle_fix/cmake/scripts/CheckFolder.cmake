# _bundle_fix_check(): runs `bundle-fix check` in CPack's scripts. CPack shows messages, and not what
# its scripts print, so the report is given to the caller.
#
#   CPACK_BUNDLE_FIX_COMMAND        the tool, a list
#   CPACK_BUNDLE_FIX_SPEC           the spec, or empty
#   CPACK_BUNDLE_FIX_WORK           the folder of the build that has what the spec may use
#   CPACK_BUNDLE_FIX_HOST_PROVIDES  what the target has
include("${CMAKE_CURRENT_LIST_DIR}/ElfOutside.cmake")

function(_bundle_fix_check artifact result report)
  set(options --color never)
  if(CPACK_BUNDLE_FIX_SPEC)
    list(APPEND options --spec "${CPACK_BUNDLE_FIX_SPEC}")
    # A build of several configurations has a list for each.
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
  _bundle_fix_below_prefix(artifact "${artifact}")
  execute_process(COMMAND ${CPACK_BUNDLE_FIX_COMMAND} check "${artifact}" ${options}
                  RESULT_VARIABLE status OUTPUT_VARIABLE said ERROR_VARIABLE said)
  set(${result} "${status}" PARENT_SCOPE)
  set(${report} "${said}" PARENT_SCOPE)
endfunction()

# The prefix of the packages that are made; empty where there is none.
function(_bundle_fix_package_prefix result)
  set(prefix "${CPACK_PACKAGING_INSTALL_PREFIX}")
  if(CPACK_SET_DESTDIR)
    set(prefix "${CPACK_INSTALL_PREFIX}")
  endif()
  string(REGEX REPLACE "/+$" "" prefix "${prefix}")
  set(${result} "${prefix}" PARENT_SCOPE)
endfunction()

# The folder in FOLDER that the prefix is, if all that is native lies below it: the spec's paths are
# relative to the prefix, as in an installation.
function(_bundle_fix_below_prefix result folder)
  _bundle_fix_package_prefix(prefix)
  set(${result} "${folder}" PARENT_SCOPE)
  if(prefix AND IS_DIRECTORY "${folder}${prefix}")
    file(GLOB_RECURSE files RELATIVE "${folder}" "${folder}/*")
    list(TRANSFORM files PREPEND "/")
    _bundle_fix_elf_outside(outside "${folder}" "${prefix}" ${files})
    if(NOT outside)
      set(${result} "${folder}${prefix}" PARENT_SCOPE)
    endif()
  endif()
endfunction()
