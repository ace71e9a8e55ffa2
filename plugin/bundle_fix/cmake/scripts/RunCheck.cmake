# Makes what a test of bundle_fix_test() is about, and checks it; run by CTest.
#
#   COMMAND, OPTIONS  the tool and the options of `check`, lists
#   SPEC, DEFINES     what says what to expect, or empty, and a file with the values that it uses
#   BUILD, CONFIG     the build tree and its configuration
#   LISTS             how the lists of bundle_fix_install() begin
#   TARGET, STAMP     the target that makes a pack, and the file that holds the pack's path; or
#   ARTIFACT          what is there already; or
#   INSTALL, PREFIX   a folder to install the project into, and where it would be installed
cmake_policy(VERSION 3.20...4.0)

# Installs the project below FOLDER, also what has an absolute DESTINATION. The build tree's list of
# what is installed stays that of the real installation.
function(_bundle_fix_install_below folder)
  set(manifest "${BUILD}/install_manifest.txt")
  file(REMOVE_RECURSE "${folder}")
  file(REMOVE "${manifest}.kept")
  if(EXISTS "${manifest}")
    file(RENAME "${manifest}" "${manifest}.kept")
  endif()
  execute_process(COMMAND "${CMAKE_COMMAND}" -E env "DESTDIR=${folder}"
                          "${CMAKE_COMMAND}" --install "${BUILD}" ${config}
                  RESULT_VARIABLE status)
  file(REMOVE "${manifest}")
  if(EXISTS "${manifest}.kept")
    file(RENAME "${manifest}.kept" "${manifest}")
  endif()
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "the project cannot be installed")
  endif()
endfunction()

set(config "")
if(CONFIG)
  set(config --config "${CONFIG}")
endif()
if(TARGET)
  execute_process(COMMAND "${CMAKE_COMMAND}" --build "${BUILD}" --target "${TARGET}" ${config}
                  RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "the pack cannot be made")
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
set(expected --host-like-this)
if(SPEC)
  set(expected --spec "${SPEC}")
  if(DEFINES)
    list(APPEND expected -D "@${DEFINES}")
  endif()
endif()
execute_process(COMMAND ${COMMAND} check "${ARTIFACT}" --color never ${expected} ${OPTIONS}
                RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${ARTIFACT} does not pass")
endif()
