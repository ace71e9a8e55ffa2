# Find the targets of the project, and defer calls to the end of its configuration.
include_guard(GLOBAL)

# Call FUNCTION with ARGUMENT when the project, or the directory given as a third argument, has been
# configured.
function(_bundle_fix_defer function argument)
  set(directory "${CMAKE_SOURCE_DIR}")
  if(ARGC GREATER 2)
    set(directory "${ARGV2}")
  endif()
  cmake_language(EVAL CODE
    "cmake_language(DEFER DIRECTORY [==[${directory}]==] CALL ${function} [==[${argument}]==])")
endfunction()

# Return the stem of the names of files that exist once per configuration, for generation time and
# for install time. With a single-configuration generator it is "one": `cmake --install --config X`
# may then name any configuration.
function(_bundle_fix_config at_build at_install)
  get_property(multi GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
  set(${at_build} "one" PARENT_SCOPE)
  set(${at_install} "one" PARENT_SCOPE)
  if(multi)
    set(${at_build} "$<CONFIG>" PARENT_SCOPE)
    set(${at_install} "\${CMAKE_INSTALL_CONFIG_NAME}" PARENT_SCOPE)
  endif()
endfunction()

# Return the targets in DIRECTORY and below whose TYPE is one of the other arguments.
function(_bundle_fix_find_targets result directory)
  get_property(targets DIRECTORY "${directory}" PROPERTY BUILDSYSTEM_TARGETS)
  set(found "")
  foreach(target IN LISTS targets)
    get_target_property(kind ${target} TYPE)
    if(kind IN_LIST ARGN)
      list(APPEND found ${target})
    endif()
  endforeach()
  get_property(subdirectories DIRECTORY "${directory}" PROPERTY SUBDIRECTORIES)
  foreach(subdirectory IN LISTS subdirectories)
    _bundle_fix_find_targets(below "${subdirectory}" ${ARGN})
    list(APPEND found ${below})
  endforeach()
  set(${result} "${found}" PARENT_SCOPE)
endfunction()

# Return whether the default target builds TARGET: neither TARGET nor a directory above it has the
# property EXCLUDE_FROM_ALL.
function(_bundle_fix_is_in_all target result)
  set(${result} FALSE PARENT_SCOPE)
  get_target_property(excluded ${target} EXCLUDE_FROM_ALL)
  get_target_property(directory ${target} SOURCE_DIR)
  while(directory AND NOT excluded)
    get_property(excluded DIRECTORY "${directory}" PROPERTY EXCLUDE_FROM_ALL)
    get_property(directory DIRECTORY "${directory}" PROPERTY PARENT_DIRECTORY)
  endwhile()
  if(NOT excluded)
    set(${result} TRUE PARENT_SCOPE)
  endif()
endfunction()

# Stop with an error if FUNCTION got UNKNOWN arguments, or keywords without values (MISSING).
function(_bundle_fix_check_arguments function unknown missing)
  if(unknown)
    message(FATAL_ERROR "${function}(): unknown arguments: ${unknown}")
  endif()
  if(missing)
    message(FATAL_ERROR "${function}(): missing values of ${missing}")
  endif()
endfunction()
