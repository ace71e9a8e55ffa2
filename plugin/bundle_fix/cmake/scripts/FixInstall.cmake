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
include("${CMAKE_CURRENT_LIST_DIR}/ElfOutside.cmake")

# A folder that may be given relative to the working directory, with a slash at its end, or with `..`
# in it; the root of a file system is empty.
function(_bundle_fix_place result folder)
  if(NOT folder STREQUAL "")
    get_filename_component(folder "${folder}" ABSOLUTE)
    string(REGEX REPLACE "/$" "" folder "${folder}")
  endif()
  set(${result} "${folder}" PARENT_SCOPE)
endfunction()

# Writes down where the libraries of the build are, from a list of where they are below the prefix,
# which is BELOW.
function(_bundle_fix_write_built list target below)
  file(STRINGS "${list}" lines ENCODING UTF-8)
  list(TRANSFORM lines PREPEND "${below}/")
  string(REPLACE ";" "\n" text "${lines}\n")
  file(WRITE "${target}" "${text}")
endfunction()

function(_bundle_fix_fix_install)
  _bundle_fix_place(destdir "$ENV{DESTDIR}")
  _bundle_fix_place(prefix "${CMAKE_INSTALL_PREFIX}")
  set(root "${destdir}${prefix}")
  set(installed "")
  foreach(path IN LISTS CMAKE_INSTALL_MANIFEST_FILES)
    get_filename_component(path "${path}" ABSOLUTE)
    list(APPEND installed "${path}")
  endforeach()
  set(built "${BUNDLE_FIX_WORK}/${BUNDLE_FIX_CONFIG}.libraries")
  set(options --color never)
  if(BUNDLE_FIX_WHEEL)
    # The folder is the wheel's alone.
    set(root "${BUNDLE_FIX_WHEEL}")
    list(APPEND options --for-wheel --sources "${BUNDLE_FIX_SOURCE}")
    foreach(folder IN LISTS BUNDLE_FIX_ELSEWHERE)
      list(APPEND options --elsewhere "${folder}")
    endforeach()
  else()
    _bundle_fix_elf_outside(outside "${destdir}" "${prefix}" ${installed})
    # After an absolute DESTINATION, what lies there and what lies below the prefix find each other
    # through a folder above both.
    foreach(path IN LISTS outside)
      string(FIND "${destdir}${path}" "${root}/" at)
      while(NOT at EQUAL 0)
        string(REGEX REPLACE "/[^/]*$" "" root "${root}")
        string(FIND "${destdir}${path}" "${root}/" at)
      endwhile()
    endforeach()
    # Installations into different places do not share lists.
    string(MD5 place "${root}|${CMAKE_INSTALL_COMPONENT}")
    set(list "${BUNDLE_FIX_WORK}/installed/${place}.txt")
    if(outside)
      file(RELATIVE_PATH below "${root}/" "${destdir}${prefix}/")
      _bundle_fix_write_built("${built}" "${list}.libraries" "${below}")
      set(built "${list}.libraries")
    endif()
    list(TRANSFORM installed PREPEND "${destdir}" OUTPUT_VARIABLE members)
    string(REPLACE ";" "\n" text "${members}\n")
    file(WRITE "${list}" "${text}")
    list(APPEND options --members "${list}" --added "${list}.added")
    if(CMAKE_INSTALL_COMPONENT)
      list(APPEND options --partial)
    endif()
    if(NOT BUNDLE_FIX_SPEC)
      list(APPEND options --host-like-this)
    endif()
  endif()
  if(NOT root)
    set(root "/")
  endif()
  if(BUNDLE_FIX_SPEC)
    get_filename_component(libdir "${BUNDLE_FIX_LIBDIR}" ABSOLUTE BASE_DIR "${destdir}${prefix}/")
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
  execute_process(COMMAND ${BUNDLE_FIX_COMMAND} fix-tree "${root}" --built "${built}" ${options}
                  RESULT_VARIABLE status)
  if(status EQUAL 1 AND BUNDLE_FIX_KEEP_GOING)
    message(WARNING "What was installed into ${root} will not run everywhere (see above).")
  elseif(status EQUAL 1)
    message(FATAL_ERROR "What was installed into ${root} would not run (see above).")
  elseif(NOT status EQUAL 0)
    message(FATAL_ERROR "What was installed into ${root} could not be checked (see above): ${status}")
  endif()
  if(NOT BUNDLE_FIX_WHEEL)
    _bundle_fix_manifest("${list}" "${destdir}" "${root}" paths ${installed})
    set(CMAKE_INSTALL_MANIFEST_FILES "${paths}" PARENT_SCOPE)
  endif()
endfunction()

# The manifest of the installation, with what was added and without what was removed below ROOT.
function(_bundle_fix_manifest list destdir root result)
  file(STRINGS "${list}" paths ENCODING UTF-8)
  string(LENGTH "${destdir}" length)
  set(manifest "")
  foreach(path IN LISTS ARGN)
    string(FIND "${destdir}${path}/" "${root}/" at)
    if(NOT at EQUAL 0 AND NOT root MATCHES "/$")
      list(APPEND manifest "${path}")
    endif()
  endforeach()
  foreach(path IN LISTS paths)
    string(SUBSTRING "${path}" ${length} -1 path)
    list(APPEND manifest "${path}")
  endforeach()
  set(${result} "${manifest}" PARENT_SCOPE)
endfunction()

if((CMAKE_INSTALL_MANIFEST_FILES OR BUNDLE_FIX_WHEEL) AND NOT BUNDLE_FIX_DONE)
  set(BUNDLE_FIX_DONE TRUE)
  _bundle_fix_fix_install()
endif()
cmake_policy(POP)
