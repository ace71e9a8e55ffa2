# Targets of the project, and calls at the end of its top-level directory.
include_guard(GLOBAL)

# Calls FUNCTION, with ARGUMENT, when everything else in the project, or in DIRECTORY of it, has been
# configured.
function(_bundle_fix_at_the_end function argument)
  set(directory "${CMAKE_SOURCE_DIR}")
  if(ARGC GREATER 2)
    set(directory "${ARGV2}")
  endif()
  cmake_language(EVAL CODE
    "cmake_language(DEFER DIRECTORY [==[${directory}]==] CALL ${function} [==[${argument}]==])")
endfunction()

# How files of one configuration are named: when the build is generated, and when it is installed,
# where a build of one configuration may be called by the name of any.
function(_bundle_fix_config at_build at_install)
  get_property(multi GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
  set(${at_build} "one" PARENT_SCOPE)
  set(${at_install} "one" PARENT_SCOPE)
  if(multi)
    set(${at_build} "$<CONFIG>" PARENT_SCOPE)
    set(${at_install} "\${CMAKE_INSTALL_CONFIG_NAME}" PARENT_SCOPE)
  endif()
endfunction()

# The targets in DIRECTORY and below, of the kinds that follow.
function(_bundle_fix_targets result directory)
  get_property(targets DIRECTORY "${directory}" PROPERTY BUILDSYSTEM_TARGETS)
  set(found "")
  foreach(target IN LISTS targets)
    get_target_property(kind ${target} TYPE)
    if(kind IN_LIST ARGN)
      list(APPEND found ${target})
    endif()
  endforeach()
  get_property(folders DIRECTORY "${directory}" PROPERTY SUBDIRECTORIES)
  foreach(folder IN LISTS folders)
    _bundle_fix_targets(below "${folder}" ${ARGN})
    list(APPEND found ${below})
  endforeach()
  set(${result} "${found}" PARENT_SCOPE)
endfunction()

# Whether a plain build makes TARGET: nothing on the way to it says EXCLUDE_FROM_ALL.
function(_bundle_fix_in_all target result)
  set(${result} FALSE PARENT_SCOPE)
  get_target_property(excluded ${target} EXCLUDE_FROM_ALL)
  get_target_property(folder ${target} SOURCE_DIR)
  while(folder AND NOT excluded)
    get_property(excluded DIRECTORY "${folder}" PROPERTY EXCLUDE_FROM_ALL)
    get_property(folder DIRECTORY "${folder}" PROPERTY PARENT_DIRECTORY)
  endwhile()
  if(NOT excluded)
    set(${result} TRUE PARENT_SCOPE)
  endif()
endfunction()

# Stops where a function was given something that it does not know, or too little.
function(_bundle_fix_check_arguments function unknown missing)
  if(unknown)
    message(FATAL_ERROR "${function}(): unknown arguments: ${unknown}")
  endif()
  if(missing)
    message(FATAL_ERROR "${function}(): ${missing} lack values")
  endif()
endfunction()
