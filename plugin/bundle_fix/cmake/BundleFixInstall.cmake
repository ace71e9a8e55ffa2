# bundle_fix_install(): what is installed is mended and verified, wherever it is installed to.
include_guard(GLOBAL)

# bundle_fix_install([LIBDIR folder]        where libraries are installed: CMAKE_INSTALL_LIBDIR or lib
#                    [SPEC spec]            what to bundle and what to expect of the target
#                    [OPTIONS name=value...]
#                    [HOST_PROVIDES name...] what the target has, besides what the spec says
#                    [KEEP_GOING])          findings are printed and do not stop the installation
#
# After all other install rules of the project, whatever they put there gets the soname links and
# the RUNPATHs that it needs, and is checked; if it does not pass, the installation fails. That
# serves `cmake --install`, the packages of CPack, and wheels. Without SPEC, libraries that this
# machine's loader finds by itself are left to the target, except in a wheel.
function(bundle_fix_install)
  cmake_parse_arguments(PARSE_ARGV 0 arg "KEEP_GOING" "LIBDIR;SPEC" "OPTIONS;HOST_PROVIDES")
  _bundle_fix_check_arguments(bundle_fix_install
    "${arg_UNPARSED_ARGUMENTS}" "${arg_KEYWORDS_MISSING_VALUES}")
  get_property(called GLOBAL PROPERTY BUNDLE_FIX_INSTALL SET)
  if(called)
    # One hook serves the project and what it includes; the outermost call says how.
    if(NOT CMAKE_CURRENT_SOURCE_DIR STREQUAL CMAKE_SOURCE_DIR)
      return()
    endif()
  else()
    _bundle_fix_at_the_end(_bundle_fix_finish_install "")
    # Under the old policy subdirectories are installed after all else.
    cmake_language(EVAL CODE
      "cmake_language(DEFER DIRECTORY [==[${CMAKE_SOURCE_DIR}]==] CALL cmake_policy SET CMP0082 NEW)")
    bundle_fix_cpack()
  endif()
  set(spec "")
  if(arg_SPEC)
    get_filename_component(spec "${arg_SPEC}" ABSOLUTE)
    if(NOT EXISTS "${spec}")
      message(FATAL_ERROR "bundle_fix_install(): there is no spec ${spec}")
    endif()
  endif()
  if(NOT arg_LIBDIR)
    set(arg_LIBDIR lib)
    if(CMAKE_INSTALL_LIBDIR)
      set(arg_LIBDIR "${CMAKE_INSTALL_LIBDIR}")
    endif()
  endif()
  set_property(GLOBAL PROPERTY BUNDLE_FIX_INSTALL TRUE)
  set_property(GLOBAL PROPERTY BUNDLE_FIX_LIBDIR "${arg_LIBDIR}")
  set_property(GLOBAL PROPERTY BUNDLE_FIX_SPEC "${spec}")
  set_property(GLOBAL PROPERTY BUNDLE_FIX_INSTALL_OPTIONS "${arg_OPTIONS}")
  set_property(GLOBAL PROPERTY BUNDLE_FIX_HOST_PROVIDES "${arg_HOST_PROVIDES}")
  set_property(GLOBAL PROPERTY BUNDLE_FIX_KEEP_GOING "${arg_KEEP_GOING}")
endfunction()

# What waits for all targets, components and install rules to be known.
function(_bundle_fix_finish_install unused)
  get_property(libdir GLOBAL PROPERTY BUNDLE_FIX_LIBDIR)
  if("$CACHE{SKBUILD_STATE}" STREQUAL "editable")
    # Nothing is mended in an editable installation, so what is linked must be right by itself.
    _bundle_fix_targets(targets "${CMAKE_SOURCE_DIR}" EXECUTABLE SHARED_LIBRARY MODULE_LIBRARY)
    foreach(target IN LISTS targets)
      get_target_property(given ${target} INSTALL_RPATH)
      if(NOT given)
        bundle_fix_runpath(${target} LIBRARY "${libdir}")
      endif()
    endforeach()
    message(STATUS "BundleFix: an editable installation is not mended")
    return()
  endif()
  _bundle_fix_list_libraries("${libdir}")
  _bundle_fix_install_rules()
endfunction()

# Writes down the shared libraries that the build makes, by where LIBDIR would have them.
function(_bundle_fix_list_libraries libdir)
  _bundle_fix_targets(targets "${CMAKE_SOURCE_DIR}" SHARED_LIBRARY)
  set(lines "")
  if(IS_ABSOLUTE "${libdir}")
    file(RELATIVE_PATH libdir "${CMAKE_INSTALL_PREFIX}" "${libdir}")
  endif()
  foreach(target IN LISTS targets)
    set(name "$<TARGET_SONAME_FILE_NAME:${target}>")
    get_target_property(without ${target} NO_SONAME)
    if(without)
      set(name "$<TARGET_FILE_NAME:${target}>")
    endif()
    string(APPEND lines "${libdir}/${name}=$<TARGET_FILE:${target}>\n")
  endforeach()
  file(GENERATE OUTPUT "${CMAKE_BINARY_DIR}/BundleFix/$<CONFIG>.libraries" CONTENT "${lines}")
  get_property(options GLOBAL PROPERTY BUNDLE_FIX_INSTALL_OPTIONS)
  set(lines "build=${CMAKE_BINARY_DIR}\nsource=${CMAKE_SOURCE_DIR}\n")
  string(APPEND lines "cmake.CMAKE_BUILD_TYPE=$<CONFIG>\n")
  foreach(option IN LISTS options)
    string(APPEND lines "${option}\n")
  endforeach()
  file(GENERATE OUTPUT "${CMAKE_BINARY_DIR}/BundleFix/$<CONFIG>.defines" CONTENT "${lines}")
endfunction()

# An installation runs the rules of one component or of all, so every component gets the rule; the
# script sees that it runs once.
function(_bundle_fix_install_rules)
  _bundle_fix_folder(package)
  get_property(command GLOBAL PROPERTY BUNDLE_FIX_COMMAND)
  get_property(spec GLOBAL PROPERTY BUNDLE_FIX_SPEC)
  get_property(libdir GLOBAL PROPERTY BUNDLE_FIX_LIBDIR)
  get_property(provides GLOBAL PROPERTY BUNDLE_FIX_HOST_PROVIDES)
  get_property(keep_going GLOBAL PROPERTY BUNDLE_FIX_KEEP_GOING)
  set(wheel "")
  if("$CACHE{SKBUILD_STATE}" STREQUAL "wheel")
    set(wheel "${SKBUILD_PLATLIB_DIR}")
  endif()
  set(code "
set(BUNDLE_FIX_COMMAND [==[${command}]==])
set(BUNDLE_FIX_SOURCE [==[${CMAKE_SOURCE_DIR}]==])
set(BUNDLE_FIX_WORK [==[${CMAKE_BINARY_DIR}/BundleFix]==])
set(BUNDLE_FIX_SPEC [==[${spec}]==])
set(BUNDLE_FIX_LIBDIR [==[${libdir}]==])
set(BUNDLE_FIX_HOST_PROVIDES [==[${provides}]==])
set(BUNDLE_FIX_KEEP_GOING [==[${keep_going}]==])
set(BUNDLE_FIX_WHEEL [==[${wheel}]==])
include([==[${package}/scripts/FixInstall.cmake]==])
")
  get_cmake_property(components COMPONENTS)
  list(APPEND components Unspecified)
  list(REMOVE_DUPLICATES components)
  foreach(component IN LISTS components)
    install(CODE "${code}" COMPONENT "${component}")
  endforeach()
endfunction()
