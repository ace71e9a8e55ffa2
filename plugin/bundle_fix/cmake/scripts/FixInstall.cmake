# Fix and check the files that cmake_install.cmake has just installed.
#
#   BUNDLE_FIX_COMMAND        the tool, a list
#   BUNDLE_FIX_CALL           the call of bundle_fix_install(), for messages
#   BUNDLE_FIX_SOURCE         the source tree
#   BUNDLE_FIX_BUILD          the build tree
#   BUNDLE_FIX_WORK           a directory of the build for lists of files
#   BUNDLE_FIX_CONFIG         the stem of the names of the lists that the build wrote
#   BUNDLE_FIX_SPEC           the spec, or empty
#   BUNDLE_FIX_LIBDIR         the directory of the private libraries, relative to the prefix
#   BUNDLE_FIX_PRIVATE        the targets that are moved there
#   BUNDLE_FIX_COMPONENT      the component that gets what SPEC bundles, or empty
#   BUNDLE_FIX_HOST_PROVIDES  libraries that the target has
#   BUNDLE_FIX_SEARCH         the options that say where the build found libraries
#   BUNDLE_FIX_KEEP_GOING     whether findings do not stop the installation
#   BUNDLE_FIX_WHEEL          the root directory of the wheel that is built, or empty
#   BUNDLE_FIX_OTHER_PARTS    the directories of the wheel that pip installs to other places
cmake_policy(PUSH)
cmake_policy(VERSION 3.20...4.0)
include("${CMAKE_CURRENT_LIST_DIR}/FindElfOutside.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/Wording.cmake")

# Return an absolute path without `..` and without a slash at its end; the root directory becomes
# empty. Users give DESTDIR and the prefix in any form.
function(_bundle_fix_normalize result directory)
  if(NOT directory STREQUAL "")
    get_filename_component(directory "${directory}" ABSOLUTE)
    string(REGEX REPLACE "/$" "" directory "${directory}")
  endif()
  set(${result} "${directory}" PARENT_SCOPE)
endfunction()

# Copy the LIST of the build's libraries to TARGET, with PREFIX before each path: the paths in LIST
# are relative to the install prefix, those in TARGET to the directory that is fixed.
function(_bundle_fix_write_built_list list target prefix)
  file(STRINGS "${list}" lines ENCODING UTF-8)
  list(TRANSFORM lines PREPEND "${prefix}/")
  string(REPLACE ";" "\n" text "${lines}\n")
  file(WRITE "${target}" "${text}")
endfunction()

# Return the directory that is the root directory of the target: DESTDIR, or the staging directory of
# a package that CPack makes without DESTDIR.
function(_bundle_fix_find_destdir result destdir prefix)
  if(NOT destdir AND prefix MATCHES "^(.*/_CPack_Packages/[^/]+/[^/]+/[^/]+)")
    set(destdir "${CMAKE_MATCH_1}")
    if(IS_DIRECTORY "${destdir}/${CMAKE_INSTALL_COMPONENT}")
      string(APPEND destdir "/${CMAKE_INSTALL_COMPONENT}")
    endif()
  endif()
  set(${result} "${destdir}" PARENT_SCOPE)
endfunction()

# Move the installed files of private libraries, INSTALLED without DESTDIR, to LIBDIR, and return all
# paths as they are then.
function(_bundle_fix_move_private_libraries result destdir libdir)
  file(STRINGS "${BUNDLE_FIX_WORK}/${BUNDLE_FIX_CONFIG}.private" private ENCODING UTF-8)
  set(paths "")
  foreach(path IN LISTS ARGN)
    get_filename_component(name "${path}" NAME)
    if(name IN_LIST private AND NOT path STREQUAL "${libdir}/${name}")
      file(MAKE_DIRECTORY "${destdir}${libdir}")
      file(RENAME "${destdir}${path}" "${destdir}${libdir}/${name}")
      set(path "${libdir}/${name}")
    endif()
    list(APPEND paths "${path}")
  endforeach()
  set(${result} "${paths}" PARENT_SCOPE)
endfunction()

# Write the file that describes the component to `fix-tree`, and return its path. PREFIX and LIBDIR
# are paths on the target.
function(_bundle_fix_describe_component result prefix libdir)
  set(text "component=${CMAKE_INSTALL_COMPONENT}\nowner=${BUNDLE_FIX_COMPONENT}\n")
  string(APPEND text "prefix=${prefix}\nlibdir=${libdir}\nconfig=${CMAKE_INSTALL_CONFIG_NAME}\n")
  string(APPEND text "script=${BUNDLE_FIX_BUILD}/cmake_install.cmake\n")
  file(STRINGS "${BUNDLE_FIX_WORK}/${BUNDLE_FIX_CONFIG}.private" private ENCODING UTF-8)
  foreach(name IN LISTS private)
    string(APPEND text "private=${name}\n")
  endforeach()
  set(file "${BUNDLE_FIX_WORK}/components/${CMAKE_INSTALL_COMPONENT}")
  file(WRITE "${file}" "${text}")
  set(${result} "${file}" PARENT_SCOPE)
endfunction()

function(_bundle_fix_fix_installed_files)
  _bundle_fix_normalize(destdir "$ENV{DESTDIR}")
  _bundle_fix_normalize(prefix "${CMAKE_INSTALL_PREFIX}")
  set(root "${destdir}${prefix}")
  set(installed "")
  foreach(path IN LISTS CMAKE_INSTALL_MANIFEST_FILES)
    get_filename_component(path "${path}" ABSOLUTE)
    list(APPEND installed "${path}")
  endforeach()
  get_filename_component(libdir "${BUNDLE_FIX_LIBDIR}" ABSOLUTE BASE_DIR "${prefix}/")
  _bundle_fix_move_private_libraries(installed "${destdir}" "${libdir}" ${installed})
  set(built "${BUNDLE_FIX_WORK}/${BUNDLE_FIX_CONFIG}.libraries")
  set(options --color never)
  _bundle_fix_find_destdir(staged "${destdir}" "${prefix}")
  if(BUNDLE_FIX_WHEEL)
    # The directory contains only files of the wheel, so no list of members is needed.
    set(root "${BUNDLE_FIX_WHEEL}")
    list(APPEND options --for-wheel --sources "${BUNDLE_FIX_SOURCE}")
    foreach(part IN LISTS BUNDLE_FIX_OTHER_PARTS)
      list(APPEND options --elsewhere "${part}")
    endforeach()
  else()
    _bundle_fix_find_elf_outside(outside "${destdir}" "${prefix}" ${installed})
    if(staged AND NOT destdir)
      foreach(path IN LISTS outside)
        string(FIND "${path}" "${staged}/" position)
        if(NOT position EQUAL 0)
          set(BUNDLE_FIX_FAILURE "BundleFix: ${BUNDLE_FIX_CALL}: ${path} has an absolute DESTINATION, "
              "so CPack has installed it on this machine and not into the package. Use a DESTINATION "
              "relative to the prefix, or set CPACK_SET_DESTDIR to ON." PARENT_SCOPE)
          return()
        endif()
      endforeach()
    endif()
    # ELF files with an absolute DESTINATION are outside of the prefix. Fix the closest directory
    # above both, so that RUNPATHs can lead from one to the other.
    foreach(path IN LISTS outside ITEMS "${libdir}")
      string(FIND "${destdir}${path}" "${root}/" position)
      while(NOT position EQUAL 0)
        string(REGEX REPLACE "/[^/]*$" "" root "${root}")
        string(FIND "${destdir}${path}" "${root}/" position)
      endwhile()
    endforeach()
    # Each install directory and component has its own list; they share the list of added files.
    string(MD5 digest "${root}|${CMAKE_INSTALL_COMPONENT}")
    set(list "${BUNDLE_FIX_WORK}/installed/${digest}.txt")
    string(MD5 digest "${root}")
    set(added "${BUNDLE_FIX_WORK}/installed/${digest}.added")
    if(NOT root STREQUAL "${destdir}${prefix}")
      file(RELATIVE_PATH relative_prefix "${root}/" "${destdir}${prefix}/")
      _bundle_fix_write_built_list("${built}" "${list}.libraries" "${relative_prefix}")
      set(built "${list}.libraries")
    endif()
    list(TRANSFORM installed PREPEND "${destdir}" OUTPUT_VARIABLE members)
    string(REPLACE ";" "\n" text "${members}\n")
    file(WRITE "${list}" "${text}")
    list(APPEND options --members "${list}" --added "${added}")
    if(CMAKE_INSTALL_COMPONENT)
      file(RELATIVE_PATH target_prefix "${staged}/" "${destdir}${prefix}")
      file(RELATIVE_PATH target_libdir "${staged}/" "${destdir}${libdir}")
      _bundle_fix_describe_component(description "/${target_prefix}" "/${target_libdir}")
      list(APPEND options --component "${description}")
    endif()
    if(NOT BUNDLE_FIX_SPEC)
      list(APPEND options --host-like-this)
    endif()
  endif()
  if(NOT root)
    set(root "/")
  endif()
  if(BUNDLE_FIX_SPEC)
    list(APPEND options --spec "${BUNDLE_FIX_SPEC}"
         -D "@${BUNDLE_FIX_WORK}/${BUNDLE_FIX_CONFIG}.defines"
         --linked "${BUNDLE_FIX_WORK}/${BUNDLE_FIX_CONFIG}.linked" ${BUNDLE_FIX_SEARCH})
  endif()
  if(staged)
    list(APPEND options --destdir "${staged}")
  endif()
  if(BUNDLE_FIX_SPEC OR BUNDLE_FIX_PRIVATE)
    file(RELATIVE_PATH libdir "${root}" "${destdir}${libdir}")
    list(APPEND options --libdir "./${libdir}")
  endif()
  if(BUNDLE_FIX_KEEP_GOING)
    list(APPEND options --force)
  endif()
  foreach(name IN LISTS BUNDLE_FIX_HOST_PROVIDES)
    list(APPEND options --host-provides "${name}")
  endforeach()
  if(CMAKE_INSTALL_COMPONENT AND CMAKE_INSTALL_COMPONENT STREQUAL BUNDLE_FIX_COMPONENT)
    file(MAKE_DIRECTORY "${root}")
  endif()
  if(NOT IS_DIRECTORY "${root}")
    return()
  endif()

  message(STATUS "BundleFix: fixing and checking ${root}")
  execute_process(COMMAND ${BUNDLE_FIX_COMMAND} fix-tree "${root}" --built "${built}" ${options}
                  RESULT_VARIABLE status OUTPUT_VARIABLE report ERROR_VARIABLE report)
  _bundle_fix_use_cmake_words(report "${report}")
  message("${report}")
  set(failure "")
  if(status EQUAL 1)
    set(failure "BundleFix: the files installed in ${root} do not pass the check (see above) of "
                "${BUNDLE_FIX_CALL}.")
  elseif(NOT status EQUAL 0)
    set(failure "BundleFix: ${BUNDLE_FIX_CALL} fails for ${root} (see above).")
  endif()
  if(status EQUAL 1 AND BUNDLE_FIX_KEEP_GOING)
    message(WARNING ${failure})
  elseif(failure)
    set(BUNDLE_FIX_FAILURE "${failure}" PARENT_SCOPE)
    return()
  endif()
  if(NOT BUNDLE_FIX_WHEEL)
    _bundle_fix_update_manifest("${list}" "${destdir}" "${root}" paths ${installed})
    set(CMAKE_INSTALL_MANIFEST_FILES "${paths}" PARENT_SCOPE)
  endif()
endfunction()

# Return the paths for install_manifest.txt: INSTALLED outside of ROOT, and the paths in LIST, which
# `fix-tree` has updated, below ROOT.
function(_bundle_fix_update_manifest list destdir root result)
  file(STRINGS "${list}" paths ENCODING UTF-8)
  string(LENGTH "${destdir}" length)
  set(manifest "")
  foreach(path IN LISTS ARGN)
    string(FIND "${destdir}${path}/" "${root}/" position)
    if(NOT position EQUAL 0 AND NOT root MATCHES "/$")
      list(APPEND manifest "${path}")
    endif()
  endforeach()
  foreach(path IN LISTS paths)
    string(SUBSTRING "${path}" ${length} -1 path)
    list(APPEND manifest "${path}")
  endforeach()
  set(${result} "${manifest}" PARENT_SCOPE)
endfunction()

# The rule of each component includes this script, but all share the variables of one installation.
if((CMAKE_INSTALL_MANIFEST_FILES OR BUNDLE_FIX_WHEEL
    OR (CMAKE_INSTALL_COMPONENT AND CMAKE_INSTALL_COMPONENT STREQUAL BUNDLE_FIX_COMPONENT))
   AND NOT BUNDLE_FIX_DONE)
  set(BUNDLE_FIX_DONE TRUE)
  _bundle_fix_fix_installed_files()
endif()
cmake_policy(POP)
# Not before POP: CMake would warn about the policies of the including script (CMP0011).
if(BUNDLE_FIX_FAILURE)
  message(FATAL_ERROR ${BUNDLE_FIX_FAILURE})
endif()
