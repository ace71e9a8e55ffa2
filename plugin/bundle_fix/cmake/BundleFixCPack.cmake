# bundle_fix_cpack(): check CPack's staging directories and packages. bundle_fix_install() calls it.
include_guard(GLOBAL)

# bundle_fix_cpack()
#
# Check the staged files before CPack makes packages, and the packages after it has written them.
# Packages that do not pass are removed. Findings make cpack fail.
function(bundle_fix_cpack)
  get_property(called GLOBAL PROPERTY BUNDLE_FIX_CPACK SET)
  if(NOT called)
    set_property(GLOBAL PROPERTY BUNDLE_FIX_CPACK TRUE)
    _bundle_fix_defer(_bundle_fix_finish_cpack "")
  endif()
endfunction()

# Append the settings and scripts of BundleFix to CPackConfig.cmake. include(CPack) writes that file
# immediately, maybe before or after bundle_fix_cpack(), so this runs at the end of the
# configuration.
function(_bundle_fix_finish_cpack unused)
  set(config "${CMAKE_BINARY_DIR}/CPackConfig.cmake")
  if(CPACK_OUTPUT_CONFIG_FILE)
    set(config "${CPACK_OUTPUT_CONFIG_FILE}")
  endif()
  if(NOT EXISTS "${config}")
    return()
  endif()
  # An outer project may have included CPack already: do not append twice.
  file(READ "${config}" content)
  string(FIND "${content}" "CPACK_BUNDLE_FIX_COMMAND" position)
  if(NOT position EQUAL -1)
    return()
  endif()
  _bundle_fix_package_directory(package)
  get_property(command GLOBAL PROPERTY BUNDLE_FIX_COMMAND)
  get_property(spec GLOBAL PROPERTY BUNDLE_FIX_SPEC)
  get_property(libdir GLOBAL PROPERTY BUNDLE_FIX_LIBDIR)
  get_property(provides GLOBAL PROPERTY BUNDLE_FIX_HOST_PROVIDES)
  file(APPEND "${config}" "
set(CPACK_BUNDLE_FIX_COMMAND [==[${command}]==])
set(CPACK_BUNDLE_FIX_SPEC [==[${spec}]==])
set(CPACK_BUNDLE_FIX_WORK [==[${CMAKE_BINARY_DIR}/BundleFix]==])
set(CPACK_BUNDLE_FIX_LIBDIR [==[${libdir}]==])
set(CPACK_BUNDLE_FIX_HOST_PROVIDES [==[${provides}]==])
list(APPEND CPACK_PRE_BUILD_SCRIPTS [==[${package}/scripts/CheckStaging.cmake]==])
list(APPEND CPACK_POST_BUILD_SCRIPTS [==[${package}/scripts/CheckPackages.cmake]==])
")
endfunction()
