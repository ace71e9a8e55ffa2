# Mends and verifies what cmake_install.cmake has just put into the install tree.
#
#   BUNDLE_FIX_COMMAND        the tool, a list
#   BUNDLE_FIX_SOURCE         the source tree
#   BUNDLE_FIX_WORK           a folder of the build for lists
#   BUNDLE_FIX_CONFIG         how the lists of what is installed are named
#   BUNDLE_FIX_SPEC           the spec, or empty
#   BUNDLE_FIX_LIBDIR         where libraries are installed, below the prefix
#   BUNDLE_FIX_HOST_PROVIDES  what the target has
#   BUNDLE_FIX_KEEP_GOING     whether findings do not stop the installation
#   BUNDLE_FIX_WHEEL          the root of the wheel that is built, or empty
#   BUNDLE_FIX_ELSEWHERE      the parts of it that pip puts elsewhere
cmake_policy(PUSH)
cmake_policy(VERSION 3.20...4.0)

# Writes PATHS that lie below the prefix, with DESTDIR before them, one a line.
function(_bundle_fix_write_list file prefix)
  set(lines "")
  list(REMOVE_DUPLICATES ARGN)
  foreach(path IN LISTS ARGN)
    string(FIND "${path}" "${prefix}/" at)
    if(at EQUAL 0)
      string(APPEND lines "$ENV{DESTDIR}${path}\n")
    endif()
  endforeach()
  file(WRITE "${file}" "${lines}")
endfunction()

function(_bundle_fix_fix_install)
  # The root of a file system is an empty prefix here, and `--prefix` may be relative.
  set(prefix "${CMAKE_INSTALL_PREFIX}")
  if(prefix)
    get_filename_component(prefix "${prefix}" ABSOLUTE)
  endif()
  set(root "$ENV{DESTDIR}${prefix}")
  if(NOT root)
    set(root "/")
  endif()
  set(list "${BUNDLE_FIX_WORK}/installed.txt")
  set(options --built "${BUNDLE_FIX_WORK}/${BUNDLE_FIX_CONFIG}.libraries" --color never)
  if(BUNDLE_FIX_WHEEL)
    # The folder is the wheel's alone.
    set(root "${BUNDLE_FIX_WHEEL}")
    list(APPEND options --for-wheel --sources "${BUNDLE_FIX_SOURCE}")
    foreach(folder IN LISTS BUNDLE_FIX_ELSEWHERE)
      list(APPEND options --elsewhere "${folder}")
    endforeach()
  else()
    _bundle_fix_write_list("${list}" "${prefix}" ${CMAKE_INSTALL_MANIFEST_FILES})
    if(CMAKE_INSTALL_COMPONENT)
      list(APPEND options --partial)
    endif()
    list(APPEND options --members "${list}")
    if(NOT BUNDLE_FIX_SPEC)
      list(APPEND options --host-like-this)
    endif()
  endif()
  if(BUNDLE_FIX_SPEC)
    get_filename_component(libdir "${BUNDLE_FIX_LIBDIR}" ABSOLUTE
                           BASE_DIR "$ENV{DESTDIR}${prefix}")
    file(RELATIVE_PATH libdir "${root}" "${libdir}")
    list(APPEND options --spec "${BUNDLE_FIX_SPEC}" --libdir "${libdir}"
         -D "@${BUNDLE_FIX_WORK}/${BUNDLE_FIX_CONFIG}.defines")
  endif()
  if(BUNDLE_FIX_KEEP_GOING)
    list(APPEND options --force)
  endif()
  foreach(name IN LISTS BUNDLE_FIX_HOST_PROVIDES)
    list(APPEND options --host-provides "${name}")
  endforeach()
  if(NOT IS_DIRECTORY "${root}")
    return()
  endif()

  message(STATUS "Checking: ${root}")
  execute_process(COMMAND ${BUNDLE_FIX_COMMAND} fix-tree "${root}" ${options}
                  RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    if(status EQUAL 1 AND BUNDLE_FIX_KEEP_GOING)
      message(WARNING "What was installed into ${root} will not run everywhere (see above).")
    else()
      message(FATAL_ERROR "What was installed into ${root} would not run (see above).")
    endif()
  endif()
  if(NOT BUNDLE_FIX_WHEEL)
    _bundle_fix_read_list("${list}" "${prefix}" paths)
    set(CMAKE_INSTALL_MANIFEST_FILES "${paths}" PARENT_SCOPE)
  endif()
endfunction()

# The manifest of the installation, with what was added and without what was removed.
function(_bundle_fix_read_list file prefix result)
  file(STRINGS "${file}" paths ENCODING UTF-8)
  set(kept "")
  string(LENGTH "$ENV{DESTDIR}" length)
  foreach(path IN LISTS CMAKE_INSTALL_MANIFEST_FILES)
    string(FIND "${path}" "${prefix}/" at)
    if(NOT at EQUAL 0)
      list(APPEND kept "${path}")
    endif()
  endforeach()
  foreach(path IN LISTS paths)
    string(SUBSTRING "${path}" ${length} -1 path)
    list(APPEND kept "${path}")
  endforeach()
  set(${result} "${kept}" PARENT_SCOPE)
endfunction()

if((CMAKE_INSTALL_MANIFEST_FILES OR BUNDLE_FIX_WHEEL) AND NOT BUNDLE_FIX_DONE)
  set(BUNDLE_FIX_DONE TRUE)
  _bundle_fix_fix_install()
endif()
cmake_policy(POP)
