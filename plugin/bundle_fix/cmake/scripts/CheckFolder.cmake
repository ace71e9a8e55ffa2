# _bundle_fix_check(): runs `bundle-fix check` in CPack's scripts.
#
#   CPACK_BUNDLE_FIX_COMMAND        the tool, a list
#   CPACK_BUNDLE_FIX_SPEC           the spec, or empty
#   CPACK_BUNDLE_FIX_HOST_PROVIDES  what the target has
function(_bundle_fix_check artifact result)
  set(options --color never)
  if(CPACK_BUNDLE_FIX_SPEC)
    list(APPEND options --spec "${CPACK_BUNDLE_FIX_SPEC}")
  else()
    list(APPEND options --host-like-this)
  endif()
  foreach(name IN LISTS CPACK_BUNDLE_FIX_HOST_PROVIDES)
    list(APPEND options --host-provides "${name}")
  endforeach()
  execute_process(COMMAND ${CPACK_BUNDLE_FIX_COMMAND} check "${artifact}" ${options}
                  RESULT_VARIABLE status OUTPUT_VARIABLE report ERROR_VARIABLE report)
  # CPack shows messages, and not what its scripts print.
  if(NOT status EQUAL 0)
    message("${report}")
  endif()
  set(${result} "${status}" PARENT_SCOPE)
endfunction()
