# bundle_fix_cpack(): what CPack packages is checked, before and after; bundle_fix_install() calls it.
include_guard(GLOBAL)

# bundle_fix_cpack()
#
# Before packages are made what is about to be packaged is checked; afterwards each package as it
# was written, and one that does not pass is removed. Either makes cpack fail.
function(bundle_fix_cpack)
  get_property(called GLOBAL PROPERTY BUNDLE_FIX_CPACK SET)
  if(NOT called)
    set_property(GLOBAL PROPERTY BUNDLE_FIX_CPACK TRUE)
    _bundle_fix_at_the_end(_bundle_fix_finish_cpack "")
  endif()
endfunction()

# include(CPack) writes CPackConfig.cmake at once, wherever in the project it stands: what has to be
# in it is added when all has been configured.
function(_bundle_fix_finish_cpack unused)
  set(config "${CMAKE_BINARY_DIR}/CPackConfig.cmake")
  if(CPACK_OUTPUT_CONFIG_FILE)
    set(config "${CPACK_OUTPUT_CONFIG_FILE}")
  endif()
  if(NOT EXISTS "${config}")
    return()
  endif()
  file(READ "${config}" known)
  string(FIND "${known}" "CPACK_BUNDLE_FIX_COMMAND" at)
  if(NOT at EQUAL -1)
    return()
  endif()
  _bundle_fix_folder(package)
  get_property(command GLOBAL PROPERTY BUNDLE_FIX_COMMAND)
  get_property(spec GLOBAL PROPERTY BUNDLE_FIX_SPEC)
  get_property(provides GLOBAL PROPERTY BUNDLE_FIX_HOST_PROVIDES)
  file(APPEND "${config}" "
set(CPACK_BUNDLE_FIX_COMMAND [==[${command}]==])
set(CPACK_BUNDLE_FIX_SPEC [==[${spec}]==])
set(CPACK_BUNDLE_FIX_WORK [==[${CMAKE_BINARY_DIR}/BundleFix]==])
set(CPACK_BUNDLE_FIX_HOST_PROVIDES [==[${provides}]==])
list(APPEND CPACK_PRE_BUILD_SCRIPTS [==[${package}/scripts/CheckStaging.cmake]==])
list(APPEND CPACK_POST_BUILD_SCRIPTS [==[${package}/scripts/CheckPackages.cmake]==])
")
endfunction()
