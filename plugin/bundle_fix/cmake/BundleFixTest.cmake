# bundle_fix_test(): checks as tests of CTest.
include_guard(GLOBAL)

# bundle_fix_test(NAME name
#                 [PACK target]        checks the pack that bundle_fix_pack() makes by this target
#                 [DIRECTORY folder]   checks a folder, or an artifact in a file
#                 [SPEC spec]          what to expect of the target; of a pack, its own
#                 [OPTIONS option...]) more options of `bundle-fix check`
#
# Adds a test that fails on findings; its report is the test's output. Without PACK and DIRECTORY the
# project is installed into a folder of the build tree, and that is checked.
function(bundle_fix_test)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "NAME;PACK;DIRECTORY;SPEC" "OPTIONS")
  if(NOT arg_NAME AND arg_UNPARSED_ARGUMENTS)
    list(POP_FRONT arg_UNPARSED_ARGUMENTS arg_NAME)
  endif()
  _bundle_fix_check_arguments(bundle_fix_test
    "${arg_UNPARSED_ARGUMENTS}" "${arg_KEYWORDS_MISSING_VALUES}")
  if(NOT arg_NAME)
    message(FATAL_ERROR "bundle_fix_test() needs the name of a test")
  endif()
  if(arg_PACK AND arg_DIRECTORY)
    message(FATAL_ERROR "bundle_fix_test(${arg_NAME}): PACK and DIRECTORY exclude each other")
  endif()
  set(what "-DINSTALL=${CMAKE_BINARY_DIR}/BundleFix/test/${arg_NAME}"
           "-DPREFIX=${CMAKE_INSTALL_PREFIX}")
  set(defines "")
  if(arg_PACK)
    if(NOT TARGET ${arg_PACK})
      message(FATAL_ERROR "bundle_fix_test(${arg_NAME}): there is no target ${arg_PACK}")
    endif()
    get_target_property(stamp ${arg_PACK} BUNDLE_FIX_STAMP)
    if(NOT arg_SPEC)
      get_target_property(arg_SPEC ${arg_PACK} BUNDLE_FIX_SPEC)
      get_target_property(defines ${arg_PACK} BUNDLE_FIX_DEFINES)
    endif()
    set(what "-DTARGET=${arg_PACK}" "-DSTAMP=${stamp}")
  elseif(arg_DIRECTORY)
    get_filename_component(folder "${arg_DIRECTORY}" ABSOLUTE BASE_DIR "${CMAKE_CURRENT_BINARY_DIR}")
    if(arg_DIRECTORY MATCHES "^\\$<")
      set(folder "${arg_DIRECTORY}")
    endif()
    set(what "-DARTIFACT=${folder}")
  endif()
  set(spec "")
  if(arg_SPEC)
    get_filename_component(spec "${arg_SPEC}" ABSOLUTE)
  endif()
  _bundle_fix_config(config unused)
  _bundle_fix_folder(package)
  get_property(command GLOBAL PROPERTY BUNDLE_FIX_COMMAND)
  add_test(NAME "${arg_NAME}"
    COMMAND "${CMAKE_COMMAND}" ${what} "-DBUILD=${CMAKE_BINARY_DIR}" "-DCONFIG=$<CONFIG>"
            "-DCOMMAND=${command}" "-DOPTIONS=${arg_OPTIONS}" "-DSPEC=${spec}" "-DDEFINES=${defines}"
            "-DLISTS=${CMAKE_BINARY_DIR}/BundleFix/${config}" -P "${package}/scripts/RunCheck.cmake")
  if(NOT arg_DIRECTORY)
    # Two of them would build, or install, one build tree at the same time.
    set_tests_properties("${arg_NAME}" PROPERTIES RESOURCE_LOCK "BundleFix ${CMAKE_BINARY_DIR}")
  endif()
endfunction()
