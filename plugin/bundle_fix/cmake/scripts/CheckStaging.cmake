# Check CPack's staging directories. CPack runs this before it makes packages
# (CPACK_PRE_BUILD_SCRIPTS).
#
# CPack stages each component in its own directory. They are installed into the same prefix later,
# so they are checked together.
cmake_policy(PUSH)
cmake_policy(VERSION 3.20...4.0)
include("${CMAKE_CURRENT_LIST_DIR}/CheckDirectory.cmake")

function(_bundle_fix_check_staging)
  set(directory "${CPACK_TEMPORARY_DIRECTORY}")
  set(family ARCHIVE)
  if(CPACK_GENERATOR MATCHES "^(DEB|RPM)$")
    set(family "${CPACK_GENERATOR}")
  endif()
  set(merged "${CPACK_TOPLEVEL_DIRECTORY}/BundleFix")
  file(REMOVE_RECURSE "${merged}")
  if(CPACK_${family}_COMPONENT_INSTALL AND CPACK_COMPONENTS_ALL)
    file(GLOB staged LIST_DIRECTORIES true "${directory}/*")
    foreach(component IN LISTS staged)
      file(COPY "${component}/" DESTINATION "${merged}")
    endforeach()
    set(directory "${merged}")
  endif()
  if(NOT IS_DIRECTORY "${directory}")
    return()
  endif()
  _bundle_fix_check("${directory}" status report)
  file(REMOVE_RECURSE "${merged}")
  if(NOT status EQUAL 0)
    message("${report}")
    message(FATAL_ERROR "BundleFix: the files to be packaged do not pass the check (see above).")
  endif()
endfunction()

_bundle_fix_check_staging()
cmake_policy(POP)
