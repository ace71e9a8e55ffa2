# _bundle_fix_check(): runs `bundle-fix check` in CPack's scripts. CPack shows messages, and not what
# its scripts print, so the report is given to the caller.
#
#   CPACK_BUNDLE_FIX_COMMAND        the tool, a list
#   CPACK_BUNDLE_FIX_SPEC           the spec, or empty
#   CPACK_BUNDLE_FIX_HOST_PROVIDES  what the target has
function(_bundle_fix_check artifact result report)
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
                  RESULT_VARIABLE status OUTPUT_VARIABLE said ERROR_VARIABLE said)
  set(${result} "${status}" PARENT_SCOPE)
  set(${report} "${said}" PARENT_SCOPE)
endfunction()
