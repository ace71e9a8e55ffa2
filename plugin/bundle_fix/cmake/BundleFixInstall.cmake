# bundle_fix_install(): fix and check the installed files, for any prefix.
include_guard(GLOBAL)

# bundle_fix_install([LIBDIR directory]      directory of the private libraries, by default
#                                            lib/<project>; in a wheel lib in the package, or
#                                            PROJECT.libs beside it
#                    [PRIVATE target...]     libraries of the project that only its own programs use
#                    [SPEC spec]             libraries to bundle and policy of the check
#                    [COMPONENT component]   component of these libraries, by default the first
#                                            component that needs a library
#                    [OPTIONS name=value...] variables and options of the spec
#                    [HOST_PROVIDES name...] libraries of the target, in addition to the spec's
#                    [KEEP_GOING])           print findings, but do not stop the installation
#
# Run after all other install rules of the project: add the soname symlinks and RUNPATHs that the
# installed files need, and check them. The installation fails on findings. This covers
# `cmake --install`, the packages of CPack, and wheels. Without SPEC, libraries that the loader of
# this machine finds without RUNPATH are expected on the target, except in a wheel.
#
# Private libraries are those that SPEC bundles, and PRIVATE targets. A LIBDIR that the loader of a
# target searches by default is refused: every program of the target would load them.
function(bundle_fix_install)
  cmake_parse_arguments(PARSE_ARGV 0 arg "KEEP_GOING" "LIBDIR;SPEC;COMPONENT"
    "PRIVATE;OPTIONS;HOST_PROVIDES")
  _bundle_fix_check_arguments(bundle_fix_install
    "${arg_UNPARSED_ARGUMENTS}" "${arg_KEYWORDS_MISSING_VALUES}")
  get_property(called GLOBAL PROPERTY BUNDLE_FIX_INSTALL SET)
  if(called)
    # A project and its subprojects share one install rule; the top-level call sets its arguments.
    if(NOT CMAKE_CURRENT_SOURCE_DIR STREQUAL CMAKE_SOURCE_DIR)
      return()
    endif()
  else()
    _bundle_fix_defer(_bundle_fix_finish_install "")
    # With CMP0082 OLD the rules of subdirectories run after those of the top-level directory, and
    # so after this one.
    cmake_language(EVAL CODE
      "cmake_language(DEFER DIRECTORY [==[${CMAKE_SOURCE_DIR}]==] CALL cmake_policy SET CMP0082 NEW)")
    bundle_fix_cpack()
  endif()
  set(spec "")
  if(arg_SPEC)
    get_filename_component(spec "${arg_SPEC}" ABSOLUTE)
    if(NOT EXISTS "${spec}")
      message(FATAL_ERROR "bundle_fix_install(): spec not found: ${spec}")
    endif()
  endif()
  set(library_directory lib)
  if(CMAKE_INSTALL_LIBDIR)
    set(library_directory "${CMAKE_INSTALL_LIBDIR}")
  endif()
  if(SKBUILD_STATE)
    _bundle_fix_choose_wheel_libdir(arg_LIBDIR "${arg_LIBDIR}")
  elseif(NOT arg_LIBDIR)
    string(REGEX REPLACE "[^A-Za-z0-9_.+-]" "_" project "${CMAKE_PROJECT_NAME}")
    set(arg_LIBDIR "lib/${project}")
  endif()
  _bundle_fix_describe_install_call(call "${CMAKE_CURRENT_LIST_FILE}")
  set_property(GLOBAL PROPERTY BUNDLE_FIX_CALL "${call}")
  set_property(GLOBAL PROPERTY BUNDLE_FIX_INSTALL TRUE)
  set_property(GLOBAL PROPERTY BUNDLE_FIX_LIBDIR "${arg_LIBDIR}")
  set_property(GLOBAL PROPERTY BUNDLE_FIX_LIBRARY_DIRECTORY "${library_directory}")
  set_property(GLOBAL PROPERTY BUNDLE_FIX_PRIVATE "${arg_PRIVATE}")
  set_property(GLOBAL PROPERTY BUNDLE_FIX_COMPONENT "${arg_COMPONENT}")
  if(arg_COMPONENT)
    # CPack asks for the components when it is included.
    install(CODE "" COMPONENT "${arg_COMPONENT}")
  endif()
  set_property(GLOBAL PROPERTY BUNDLE_FIX_SPEC "${spec}")
  set_property(GLOBAL PROPERTY BUNDLE_FIX_INSTALL_OPTIONS "${arg_OPTIONS}")
  set_property(GLOBAL PROPERTY BUNDLE_FIX_HOST_PROVIDES "${arg_HOST_PROVIDES}")
  set_property(GLOBAL PROPERTY BUNDLE_FIX_KEEP_GOING "${arg_KEEP_GOING}")
endfunction()

# Return a text for messages: bundle_fix_install() with the line of its first call in FILE. CMake
# gives a function no variable with the line of its call.
function(_bundle_fix_describe_install_call result file)
  file(READ "${file}" content)
  file(RELATIVE_PATH name "${CMAKE_SOURCE_DIR}" "${file}")
  string(REGEX MATCH "(^|\n)[ \t]*bundle_fix_install[ \t]*\\(" call "${content}")
  if(call)
    string(FIND "${content}" "${call}" position)
    string(SUBSTRING "${content}" 0 ${position} before)
    string(REGEX MATCH "^\n" first "${call}")
    string(REGEX MATCHALL "\n" lines "${before}${first}")
    list(LENGTH lines line)
    math(EXPR line "${line} + 1")
    string(APPEND name ":${line}")
  endif()
  set(${result} "bundle_fix_install() in ${name}" PARENT_SCOPE)
endfunction()

# Add the install rules when all targets, components and other install rules are known.
function(_bundle_fix_finish_install unused)
  get_property(libdir GLOBAL PROPERTY BUNDLE_FIX_LIBDIR)
  if("$CACHE{SKBUILD_STATE}" STREQUAL "editable")
    _bundle_fix_prepare_editable("${libdir}")
    return()
  endif()
  # With INSTALL_PARALLEL the rules of each directory run in a process of their own, in any order;
  # the rule of BundleFix must be the last.
  get_property(parallel GLOBAL PROPERTY INSTALL_PARALLEL)
  if(parallel)
    message(STATUS "BundleFix: INSTALL_PARALLEL is turned off, because the check runs last")
    set_property(GLOBAL PROPERTY INSTALL_PARALLEL OFF)
  endif()
  _bundle_fix_write_lists()
  _bundle_fix_add_install_rules()
endfunction()

# Write the lists that the install script reads, one set per configuration: the shared libraries of
# the build with their paths, the names of the private ones, the variables of the spec, and its path.
function(_bundle_fix_write_lists)
  get_property(private GLOBAL PROPERTY BUNDLE_FIX_PRIVATE)
  get_property(private_directory GLOBAL PROPERTY BUNDLE_FIX_LIBDIR)
  get_property(public_directory GLOBAL PROPERTY BUNDLE_FIX_LIBRARY_DIRECTORY)
  _bundle_fix_find_targets(targets "${CMAKE_SOURCE_DIR}" SHARED_LIBRARY)
  set(lines "")
  foreach(target IN LISTS targets)
    set(libdir "${public_directory}")
    if(target IN_LIST private)
      set(libdir "${private_directory}")
    endif()
    if(IS_ABSOLUTE "${libdir}")
      file(RELATIVE_PATH libdir "${CMAKE_INSTALL_PREFIX}" "${libdir}")
    endif()
    set(name "$<TARGET_SONAME_FILE_NAME:${target}>")
    get_target_property(no_soname ${target} NO_SONAME)
    if(no_soname)
      set(name "$<TARGET_FILE_NAME:${target}>")
    endif()
    string(APPEND lines "${libdir}/${name}=$<TARGET_FILE:${target}>\n")
  endforeach()
  _bundle_fix_config(config unused)
  file(GENERATE OUTPUT "${CMAKE_BINARY_DIR}/BundleFix/${config}.libraries" CONTENT "${lines}")
  set(lines "")
  foreach(target IN LISTS private)
    if(NOT target IN_LIST targets)
      message(FATAL_ERROR
              "bundle_fix_install(): PRIVATE: the project has no shared library ${target}")
    endif()
    foreach(kind FILE SONAME_FILE LINKER_FILE)
      string(APPEND lines "$<TARGET_${kind}_NAME:${target}>\n")
    endforeach()
  endforeach()
  file(GENERATE OUTPUT "${CMAKE_BINARY_DIR}/BundleFix/${config}.private" CONTENT "${lines}")
  get_property(options GLOBAL PROPERTY BUNDLE_FIX_INSTALL_OPTIONS)
  _bundle_fix_find_targets(built "${CMAKE_SOURCE_DIR}"
    EXECUTABLE SHARED_LIBRARY MODULE_LIBRARY STATIC_LIBRARY)
  _bundle_fix_format_defines(lines "${options}" ${built})
  file(GENERATE OUTPUT "${CMAKE_BINARY_DIR}/BundleFix/${config}.defines" CONTENT "${lines}")
  _bundle_fix_find_targets(linked "${CMAKE_SOURCE_DIR}" EXECUTABLE SHARED_LIBRARY MODULE_LIBRARY)
  list(TRANSFORM linked REPLACE "(.+)" "$<TARGET_FILE:\\1>\n")
  list(JOIN linked "" lines)
  file(GENERATE OUTPUT "${CMAKE_BINARY_DIR}/BundleFix/${config}.linked" CONTENT "${lines}")
  get_property(spec GLOBAL PROPERTY BUNDLE_FIX_SPEC)
  file(GENERATE OUTPUT "${CMAKE_BINARY_DIR}/BundleFix/${config}.spec" CONTENT "${spec}")
endfunction()

# Add the install rule that runs FixInstall.cmake. An installation runs the rules of one component
# or of all, so every component gets the rule; the script makes sure that it runs once.
function(_bundle_fix_add_install_rules)
  _bundle_fix_package_directory(package)
  get_property(command GLOBAL PROPERTY BUNDLE_FIX_COMMAND)
  get_property(spec GLOBAL PROPERTY BUNDLE_FIX_SPEC)
  get_property(libdir GLOBAL PROPERTY BUNDLE_FIX_LIBDIR)
  get_property(private GLOBAL PROPERTY BUNDLE_FIX_PRIVATE)
  get_property(component GLOBAL PROPERTY BUNDLE_FIX_COMPONENT)
  get_property(call GLOBAL PROPERTY BUNDLE_FIX_CALL)
  get_property(provides GLOBAL PROPERTY BUNDLE_FIX_HOST_PROVIDES)
  get_property(keep_going GLOBAL PROPERTY BUNDLE_FIX_KEEP_GOING)
  _bundle_fix_get_search_options(search)
  set(wheel "")
  set(other_parts "")
  if("$CACHE{SKBUILD_STATE}" STREQUAL "wheel")
    _bundle_fix_find_wheel_parts(wheel other_parts)
  endif()
  _bundle_fix_config(unused config)
  set(code "
set(BUNDLE_FIX_COMMAND [==[${command}]==])
set(BUNDLE_FIX_SOURCE [==[${CMAKE_SOURCE_DIR}]==])
set(BUNDLE_FIX_WORK [==[${CMAKE_BINARY_DIR}/BundleFix]==])
set(BUNDLE_FIX_CONFIG \"${config}\")
set(BUNDLE_FIX_SPEC [==[${spec}]==])
set(BUNDLE_FIX_LIBDIR [==[${libdir}]==])
set(BUNDLE_FIX_CALL [==[${call}]==])
set(BUNDLE_FIX_BUILD [==[${CMAKE_BINARY_DIR}]==])
set(BUNDLE_FIX_COMPONENT [==[${component}]==])
set(BUNDLE_FIX_PRIVATE [==[${private}]==])
set(BUNDLE_FIX_HOST_PROVIDES [==[${provides}]==])
set(BUNDLE_FIX_SEARCH [==[${search}]==])
set(BUNDLE_FIX_KEEP_GOING [==[${keep_going}]==])
set(BUNDLE_FIX_WHEEL [==[${wheel}]==])
set(BUNDLE_FIX_OTHER_PARTS [==[${other_parts}]==])
include([==[${package}/scripts/FixInstall.cmake]==])
")
  get_cmake_property(components COMPONENTS)
  list(APPEND components Unspecified)
  list(REMOVE_DUPLICATES components)
  foreach(component IN LISTS components)
    install(CODE "${code}" COMPONENT "${component}")
  endforeach()
endfunction()

# Return the directory of the wheel that contains the install prefix, and the directories of its
# other parts, which pip installs to other places (PEP 427: platlib, purelib, data and scripts).
function(_bundle_fix_find_wheel_parts this_part other_parts)
  set(others "")
  foreach(part PLATLIB PURELIB DATA SCRIPTS)
    if(SKBUILD_${part}_DIR)
      string(FIND "${CMAKE_INSTALL_PREFIX}/" "${SKBUILD_${part}_DIR}/" position)
      if(position EQUAL 0)
        set(${this_part} "${SKBUILD_${part}_DIR}" PARENT_SCOPE)
      else()
        list(APPEND others "${SKBUILD_${part}_DIR}")
      endif()
    endif()
  endforeach()
  set(${other_parts} "${others}" PARENT_SCOPE)
endfunction()
