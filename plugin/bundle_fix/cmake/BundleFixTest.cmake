# bundle_fix_test(): run checks as tests of CTest.
include_guard(GLOBAL)

# bundle_fix_test(NAME name
#                 [PACK target]        check the pack of this bundle_fix_pack() target
#                 [DIRECTORY path]     check a directory, or an artifact in a file
#                 [SPEC spec]          spec with the policy of the check; by default that of PACK
#                 [RUN program arg...] run a program of it instead, on a decoy host
#                 [OPTIONS option...]) more options of `bundle-fix check`, or of `bundle-fix run`
#
# Add a test that fails on findings and prints the report. Without PACK and DIRECTORY, the test
# installs the project into a directory of the build tree and checks that.
function(bundle_fix_test)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "NAME;PACK;DIRECTORY;SPEC" "OPTIONS;RUN")
  if(NOT arg_NAME AND arg_UNPARSED_ARGUMENTS)
    list(POP_FRONT arg_UNPARSED_ARGUMENTS arg_NAME)
  endif()
  _bundle_fix_check_arguments(bundle_fix_test
    "${arg_UNPARSED_ARGUMENTS}" "${arg_KEYWORDS_MISSING_VALUES}")
  if(NOT arg_NAME)
    message(FATAL_ERROR "bundle_fix_test(): missing NAME")
  endif()
  if(arg_PACK AND arg_DIRECTORY)
    message(FATAL_ERROR "bundle_fix_test(${arg_NAME}): PACK and DIRECTORY cannot be combined")
  endif()
  set(subject "-DINSTALL=${CMAKE_BINARY_DIR}/BundleFix/test/${arg_NAME}"
              "-DPREFIX=${CMAKE_INSTALL_PREFIX}")
  set(defines "")
  if(arg_PACK)
    if(NOT TARGET ${arg_PACK})
      message(FATAL_ERROR "bundle_fix_test(${arg_NAME}): target not found: ${arg_PACK}")
    endif()
    get_target_property(stamp ${arg_PACK} BUNDLE_FIX_STAMP)
    if(NOT arg_SPEC)
      get_target_property(arg_SPEC ${arg_PACK} BUNDLE_FIX_SPEC)
      get_target_property(defines ${arg_PACK} BUNDLE_FIX_DEFINES)
    endif()
    set(subject "-DTARGET=${arg_PACK}" "-DSTAMP=${stamp}")
  elseif(arg_DIRECTORY)
    get_filename_component(directory "${arg_DIRECTORY}" ABSOLUTE
                           BASE_DIR "${CMAKE_CURRENT_BINARY_DIR}")
    # A generator expression is an absolute path only after its evaluation.
    if(arg_DIRECTORY MATCHES "^\\$<")
      set(directory "${arg_DIRECTORY}")
    endif()
    set(subject "-DARTIFACT=${directory}")
  endif()
  set(spec "")
  if(arg_SPEC)
    get_filename_component(spec "${arg_SPEC}" ABSOLUTE)
  endif()
  _bundle_fix_config(config unused)
  _bundle_fix_package_directory(package)
  get_property(command GLOBAL PROPERTY BUNDLE_FIX_COMMAND)
  add_test(NAME "${arg_NAME}"
    COMMAND "${CMAKE_COMMAND}" ${subject} "-DBUILD=${CMAKE_BINARY_DIR}" "-DCONFIG=$<CONFIG>"
            "-DCOMMAND=${command}" "-DOPTIONS=${arg_OPTIONS}" "-DRUN=${arg_RUN}" "-DSPEC=${spec}" "-DDEFINES=${defines}"
            "-DLISTS=${CMAKE_BINARY_DIR}/BundleFix/${config}" -P "${package}/scripts/RunCheck.cmake")
  if(NOT arg_DIRECTORY)
    # Two such tests at once (ctest -j) would build or install the same build tree concurrently.
    set_tests_properties("${arg_NAME}" PROPERTIES RESOURCE_LOCK "BundleFix ${CMAKE_BINARY_DIR}")
  endif()
endfunction()
