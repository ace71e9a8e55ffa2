# Build or install the artifact of a bundle_fix_test(), and check it or run a program of it. CTest runs this.
#
#   COMMAND, OPTIONS  the tool and the options of `check` or `run`, lists
#   RUN               a program of the artifact with its arguments, a list, or empty
#   SPEC, DEFINES     the spec and a file with the values of its variables, or empty
#   BUILD, CONFIG     the build tree and its configuration
#   LISTS             the path of the lists of bundle_fix_install(), without extension
#   TARGET, STAMP     the target that makes a pack, and the file that contains the pack's path; or
#   ARTIFACT          an existing artifact; or
#   INSTALL, PREFIX   a directory to install the project into (DESTDIR), and the install prefix
cmake_policy(VERSION 3.20...4.0)

# Install the project below DIRECTORY, also files with an absolute DESTINATION. Afterwards restore
# the build tree's install_manifest.txt, which `cmake --install` overwrites.
function(_bundle_fix_install_below directory)
  set(manifest "${BUILD}/install_manifest.txt")
  file(REMOVE_RECURSE "${directory}")
  file(REMOVE "${manifest}.saved")
  if(EXISTS "${manifest}")
    file(RENAME "${manifest}" "${manifest}.saved")
  endif()
  execute_process(COMMAND "${CMAKE_COMMAND}" -E env "DESTDIR=${directory}"
                          "${CMAKE_COMMAND}" --install "${BUILD}" ${config}
                  RESULT_VARIABLE status)
  file(REMOVE "${manifest}")
  if(EXISTS "${manifest}.saved")
    file(RENAME "${manifest}.saved" "${manifest}")
  endif()
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "the installation of the project failed")
  endif()
endfunction()

# CTest keeps 1,024 bytes of the output of a test that passed, unless it finds this word in it.
message(STATUS "CTEST_FULL_OUTPUT: the whole report of this check is kept")

set(config "")
if(CONFIG)
  set(config --config "${CONFIG}")
endif()
if(TARGET)
  execute_process(COMMAND "${CMAKE_COMMAND}" --build "${BUILD}" --target "${TARGET}" ${config}
                  RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "the build of the target ${TARGET} failed")
  endif()
  file(STRINGS "${STAMP}" ARTIFACT ENCODING UTF-8)
elseif(INSTALL)
  _bundle_fix_install_below("${INSTALL}")
  set(ARTIFACT "${INSTALL}${PREFIX}")
  if(EXISTS "${LISTS}.spec" AND SPEC)
    file(READ "${LISTS}.spec" spec)
    if(spec STREQUAL SPEC)
      set(DEFINES "${LISTS}.defines")
    endif()
  endif()
endif()
set(policy --host-like-this)
if(SPEC)
  set(policy --spec "${SPEC}")
  if(DEFINES)
    list(APPEND policy -D "@${DEFINES}")
  endif()
endif()
if(RUN)
  # Programs of an installation may know the absolute path of their prefix.
  if(INSTALL)
    list(PREPEND OPTIONS --at "${PREFIX}")
  endif()
  execute_process(COMMAND ${COMMAND} run "${ARTIFACT}" --color never ${policy} ${OPTIONS} -- ${RUN}
                  RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "the run of ${ARTIFACT} has findings")
  endif()
  return()
endif()
execute_process(COMMAND ${COMMAND} check "${ARTIFACT}" --color never ${policy} ${OPTIONS}
                RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${ARTIFACT} does not pass the check")
endif()
