# Finds the program bundle-fix that this CMake package belongs to.
include_guard(GLOBAL)

# Sets in the caller:
#   BundleFix_COMMAND     the command to run, a list; empty when there is none
#   BundleFix_EXECUTABLE  the program in it
#   BundleFix_NOT_FOUND_MESSAGE
# Of the programs that may be it, the one is taken that says it belongs to this very folder. Another
# one does only where there is no third, and if it is of this version: the folder may be a copy.
function(_bundle_fix_find_tool version)
  set(tried "")
  set(others "")
  _bundle_fix_folder(own)
  if(BundleFix_EXECUTABLE)
    set(candidates "${BundleFix_EXECUTABLE}")
  else()
    _bundle_fix_candidates(candidates)
  endif()
  foreach(candidate IN LISTS candidates)
    if(NOT EXISTS "${candidate}" OR IS_DIRECTORY "${candidate}")
      if(BundleFix_EXECUTABLE)
        string(APPEND tried "\n  ${candidate}: there is no such program")
      endif()
      continue()
    endif()
    _bundle_fix_ask("${candidate}" command folder found)
    if(folder STREQUAL own AND found STREQUAL version)
      _bundle_fix_settle("${candidate}" "${command}")
      return()
    endif()
    list(APPEND others "${candidate}")
    if(command)
      string(APPEND tried "\n  ${candidate}: version ${found}, of ${folder}")
    else()
      string(APPEND tried "\n  ${candidate}: it does not run: ${found}")
    endif()
  endforeach()
  list(LENGTH others count)
  if(count EQUAL 1 AND found STREQUAL version)
    _bundle_fix_settle("${others}" "${command}")
    return()
  endif()
  set(BundleFix_COMMAND "" PARENT_SCOPE)
  set(BundleFix_NOT_FOUND_MESSAGE
      "The bundle-fix ${version} that ${own} belongs to was not found."
      "Set BundleFix_EXECUTABLE to it."
      "Looked at:${tried}")
  string(REPLACE ";" " " BundleFix_NOT_FOUND_MESSAGE "${BundleFix_NOT_FOUND_MESSAGE}")
  set(BundleFix_NOT_FOUND_MESSAGE "${BundleFix_NOT_FOUND_MESSAGE}" PARENT_SCOPE)
endfunction()

# Keeps what was found, for the functions that use it: the tool sees that it still is that version.
macro(_bundle_fix_settle program command)
  set_property(GLOBAL PROPERTY BUNDLE_FIX_COMMAND ${command} "--require=${version}")
  set(BundleFix_COMMAND "${command}" PARENT_SCOPE)
  set(BundleFix_EXECUTABLE "${program}" PARENT_SCOPE)
  if(NOT BundleFix_FIND_QUIETLY)
    get_property(told GLOBAL PROPERTY BUNDLE_FIX_TOLD)
    if(NOT told STREQUAL "${program}")
      message(STATUS "Found bundle-fix: ${program} (version ${version})")
      set_property(GLOBAL PROPERTY BUNDLE_FIX_TOLD "${program}")
    endif()
  endif()
endmacro()

# The folder of this package, links resolved.
function(_bundle_fix_folder result)
  get_filename_component(folder "${CMAKE_CURRENT_FUNCTION_LIST_DIR}" REALPATH)
  set(${result} "${folder}" PARENT_SCOPE)
endfunction()

# Where an installation has its programs, seen from the folder that Python imports it from.
function(_bundle_fix_candidates result)
  _bundle_fix_folder(own)
  get_filename_component(site "${own}/../.." REALPATH)
  set(folders
      "${site}/../../../bin"     # a prefix, a venv, a build environment: lib/python3.X/site-packages
      "${site}/bin"              # pip install --target
      "${site}/../.venv/bin"     # what follows serves editable installations
      "$ENV{VIRTUAL_ENV}/bin")
  foreach(variable Python_EXECUTABLE Python3_EXECUTABLE PYTHON_EXECUTABLE)
    if(${variable})
      get_filename_component(folder "${${variable}}" DIRECTORY)
      list(APPEND folders "${folder}")
    endif()
  endforeach()
  string(REPLACE ":" ";" path "$ENV{PATH}")
  list(APPEND folders ${path})
  set(found "")
  foreach(folder IN LISTS folders)
    get_filename_component(program "${folder}/bundle-fix" REALPATH)
    list(APPEND found "${program}")
  endforeach()
  list(REMOVE_DUPLICATES found)
  set(${result} "${found}" PARENT_SCOPE)
endfunction()

# What a program says of its folder and its version, and the command that runs it; without a command,
# VERSION is the last line of why it does not run. Where Python does not look into the folder of the
# package by itself (pip install --prefix), it is told to.
function(_bundle_fix_ask program command folder version)
  _bundle_fix_folder(own)
  get_filename_component(site "${own}/../.." REALPATH)
  set(path "${site}")
  if(DEFINED ENV{PYTHONPATH})
    string(APPEND path ":$ENV{PYTHONPATH}")
  endif()
  set(plain "${program}")
  set(told "${CMAKE_COMMAND}" -E env "PYTHONPATH=${path}" "${program}")
  set(said_folder "nowhere")
  set(said_version "unknown")
  set(words "")
  foreach(way plain told)
    execute_process(COMMAND ${${way}} cmake-dir RESULT_VARIABLE status OUTPUT_VARIABLE said
                    ERROR_VARIABLE complaint OUTPUT_STRIP_TRAILING_WHITESPACE)
    if(NOT status EQUAL 0 AND NOT words)
      string(STRIP "${complaint}" complaint)
      string(REGEX REPLACE ".*\n" "" said_version "${complaint}")
      if(NOT said_version)
        set(said_version "${status}")
      endif()
    endif()
    if(status EQUAL 0 AND (said STREQUAL own OR NOT words))
      execute_process(COMMAND ${${way}} --version OUTPUT_VARIABLE said_version
                      ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
      string(REPLACE "bundle-fix " "" said_version "${said_version}")
      set(said_folder "${said}")
      set(words "${${way}}")
      if(said STREQUAL own)
        break()
      endif()
    endif()
  endforeach()
  set(${command} "${words}" PARENT_SCOPE)
  set(${folder} "${said_folder}" PARENT_SCOPE)
  set(${version} "${said_version}" PARENT_SCOPE)
endfunction()
