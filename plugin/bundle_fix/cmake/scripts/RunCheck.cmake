# Makes what a test of bundle_fix_test() is about, and checks it; run by CTest.
#
#   COMMAND, OPTIONS  the tool and the options of `check`, lists
#   BUILD, CONFIG     the build tree and its configuration
#   TARGET, STAMP     the target that makes a pack, and the file that holds the pack's path; or
#   ARTIFACT          what is there already; or
#   INSTALL           a folder to install the project into
cmake_policy(VERSION 3.20...4.0)
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
  file(REMOVE_RECURSE "${INSTALL}")
  execute_process(COMMAND "${CMAKE_COMMAND}" --install "${BUILD}" --prefix "${INSTALL}" ${config}
                  RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "the project cannot be installed")
  endif()
  set(ARTIFACT "${INSTALL}")
endif()
execute_process(COMMAND ${COMMAND} check "${ARTIFACT}" ${OPTIONS} RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${ARTIFACT} does not pass")
endif()
