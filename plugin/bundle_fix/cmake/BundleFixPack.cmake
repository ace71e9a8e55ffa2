# bundle_fix_pack(): make packs by targets of the build.
include_guard(GLOBAL)

# bundle_fix_pack(NAME SPEC
#                 [TARGETS target...]         targets to build before the pack, in addition to those
#                                             that SPEC names; by default all that a build makes
#                 [OPTIONS name=value...]     variables and options of the spec
#                 [OUTPUT file-or-directory]  by default the binary directory
#                 [ROOT directory]            base of relative paths in the spec; by default the
#                                             directory of the spec
#                 [COMPONENT component]       install the pack as a part of this install component
#                 [DESTINATION directory]     where COMPONENT installs it, relative to the prefix
#                 [ALL])                      make the pack in a build of the default target
#
# Add the target NAME. It makes the pack that SPEC describes, and makes it again if an input, the
# spec, an environment variable that the spec uses, or bundle-fix has changed. The spec may use
# {build}, {source}, {target.TARGET} and {cmake.ENTRY}.
function(bundle_fix_pack)
  cmake_parse_arguments(PARSE_ARGV 0 arg "ALL"
    "NAME;SPEC;OUTPUT;ROOT;COMPONENT;DESTINATION" "TARGETS;OPTIONS")
  foreach(word NAME SPEC)
    if(NOT arg_${word} AND arg_UNPARSED_ARGUMENTS)
      list(POP_FRONT arg_UNPARSED_ARGUMENTS arg_${word})
    endif()
  endforeach()
  _bundle_fix_check_arguments(bundle_fix_pack
    "${arg_UNPARSED_ARGUMENTS}" "${arg_KEYWORDS_MISSING_VALUES}")
  if(NOT arg_NAME OR NOT arg_SPEC)
    message(FATAL_ERROR "bundle_fix_pack(): missing NAME or SPEC; call bundle_fix_pack(NAME SPEC)")
  endif()
  get_filename_component(spec "${arg_SPEC}" ABSOLUTE)
  if(NOT EXISTS "${spec}")
    message(FATAL_ERROR "bundle_fix_pack(${arg_NAME}): spec not found: ${spec}")
  endif()

  set(work "${CMAKE_CURRENT_BINARY_DIR}/BundleFix/${arg_NAME}")
  _bundle_fix_config(config unused)
  set(stamp "${work}/${config}.stamp")
  set(defines "${work}/${config}.defines")
  set(environment "${work}/${config}.environment")
  set(depfile "${work}/${config}.d")
  # Before CMake 3.21 DEPFILE takes no generator expressions, so all configurations share one.
  if(CMAKE_VERSION VERSION_LESS 3.21)
    set(depfile "${work}/any.d")
  endif()
  _bundle_fix_resolve_output("${arg_OUTPUT}" output directory)
  set(root "")
  if(arg_ROOT)
    get_filename_component(root "${arg_ROOT}" ABSOLUTE)
    set(root -C "${root}")
  endif()

  get_property(command GLOBAL PROPERTY BUNDLE_FIX_COMMAND)
  _bundle_fix_package_directory(package)
  _bundle_fix_get_search_options(search)
  get_property(search_list GLOBAL PROPERTY BUNDLE_FIX_SEARCH_LIST)
  set(objcopy "")
  if(CMAKE_OBJCOPY)
    set(objcopy --objcopy "${CMAKE_OBJCOPY}")
  endif()
  add_custom_command(
    OUTPUT "${stamp}"
    COMMAND "${CMAKE_COMMAND}" -E make_directory "${directory}"
    COMMAND ${command} pack "${spec}" ${root} -D "@${defines}" -D "@${work}/${config}.imported"
            -o "${output}" --depfile "${depfile}" --stamp "${stamp}" ${search} ${objcopy}
    DEPENDS "${spec}" "${defines}" "${work}/${config}.imported" "${environment}"
            "${search_list}" "${package}/../__init__.py"
    DEPFILE "${depfile}"
    COMMENT "Packing ${arg_NAME}"
    COMMAND_EXPAND_LISTS VERBATIM)
  set(all "")
  if(arg_ALL)
    set(all ALL)
  endif()
  # The pack depends on the custom targets and external projects that exist now. Later ones may
  # depend on the pack, for example to upload it.
  _bundle_fix_find_targets(steps "${CMAKE_SOURCE_DIR}" UTILITY)
  add_custom_target(${arg_NAME} ${all} DEPENDS "${stamp}")
  _bundle_fix_add_environment_step(${arg_NAME} "${spec}" "${environment}")
  set_target_properties(${arg_NAME} PROPERTIES
    BUNDLE_FIX_SPEC "${spec}"
    BUNDLE_FIX_STAMP "${stamp}"
    BUNDLE_FIX_DEFINES "${defines}"
    BUNDLE_FIX_IMPORTED_DEFINES "${work}/${config}.imported"
    BUNDLE_FIX_OPTIONS "${arg_OPTIONS}"
    BUNDLE_FIX_STEPS "${steps}"
    BUNDLE_FIX_TARGETS "${arg_TARGETS}")
  set_property(GLOBAL APPEND PROPERTY BUNDLE_FIX_PACKS ${arg_NAME})
  _bundle_fix_defer(_bundle_fix_write_imported_targets "${arg_NAME}" "${CMAKE_CURRENT_SOURCE_DIR}")
  _bundle_fix_defer(_bundle_fix_finish_pack "${arg_NAME}")
  if(arg_COMPONENT)
    _bundle_fix_add_pack_install("${arg_NAME}" "${arg_COMPONENT}" "${arg_DESTINATION}")
  endif()
endfunction()

# Return the value of -o for OUTPUT of the user, and the directory that must exist before.
function(_bundle_fix_resolve_output given output directory)
  get_property(multi GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
  if(NOT given)
    set(path "${CMAKE_CURRENT_BINARY_DIR}")
    if(multi)
      string(APPEND path "/$<CONFIG>")
    endif()
  else()
    get_filename_component(path "${given}" ABSOLUTE BASE_DIR "${CMAKE_CURRENT_BINARY_DIR}")
  endif()
  set(${output} "${path}" PARENT_SCOPE)
  if(given MATCHES "\\.(tar|tgz|txz|tzst|zip)$|\\.tar\\.(gz|xz|zst|bz2)$")
    get_filename_component(path "${path}" DIRECTORY)
  endif()
  set(${directory} "${path}" PARENT_SCOPE)
endfunction()

# Write the files of the imported targets that the pack NAME uses. They are visible only in the
# directory that imports them, so this runs in the directory of bundle_fix_pack().
function(_bundle_fix_write_imported_targets name)
  get_target_property(spec ${name} BUNDLE_FIX_SPEC)
  get_target_property(targets ${name} BUNDLE_FIX_TARGETS)
  get_target_property(output ${name} BUNDLE_FIX_IMPORTED_DEFINES)
  _bundle_fix_find_named_targets("${spec}" named)
  set(imported "")
  foreach(target IN LISTS targets named)
    if(TARGET ${target})
      get_target_property(is_imported ${target} IMPORTED)
      if(is_imported)
        list(APPEND imported ${target})
      endif()
    endif()
  endforeach()
  set_property(TARGET ${name} PROPERTY BUNDLE_FIX_IMPORTED "${imported}")
  _bundle_fix_format_targets(lines ${imported})
  file(GENERATE OUTPUT "${output}" CONTENT "${lines}")
endfunction()

# Add the dependencies of the pack and write the variables of its spec, when all targets are known.
function(_bundle_fix_finish_pack name)
  get_target_property(spec ${name} BUNDLE_FIX_SPEC)
  get_target_property(required ${name} BUNDLE_FIX_TARGETS)
  get_target_property(imported ${name} BUNDLE_FIX_IMPORTED)
  get_target_property(options ${name} BUNDLE_FIX_OPTIONS)
  get_target_property(defines ${name} BUNDLE_FIX_DEFINES)
  _bundle_fix_find_targets(built "${CMAKE_SOURCE_DIR}"
    EXECUTABLE SHARED_LIBRARY MODULE_LIBRARY STATIC_LIBRARY)
  _bundle_fix_find_named_targets("${spec}" named)
  if(NOT required)
    get_target_property(steps ${name} BUNDLE_FIX_STEPS)
    foreach(target IN LISTS built steps)
      _bundle_fix_is_in_all(${target} in_all)
      _bundle_fix_depends_on_pack(${target} depends_on_pack)
      if(in_all AND NOT depends_on_pack)
        add_dependencies(${name} ${target})
      endif()
    endforeach()
    set(required "")
  endif()
  foreach(target IN LISTS required named)
    if(target IN_LIST imported)
      continue()
    elseif(NOT TARGET ${target})
      message(FATAL_ERROR "bundle_fix_pack(${name}): target not found: ${target}")
    endif()
    add_dependencies(${name} ${target})
  endforeach()
  _bundle_fix_format_defines(lines "${options}" ${built} ${required} ${named})
  file(GENERATE OUTPUT "${defines}" CONTENT "${lines}")
endfunction()

# Return whether TARGET is a pack, or depends on one (for example a custom target that uploads it).
function(_bundle_fix_depends_on_pack target result)
  get_target_property(spec ${target} BUNDLE_FIX_SPEC)
  get_target_property(dependencies ${target} MANUALLY_ADDED_DEPENDENCIES)
  set(found FALSE)
  if(spec)
    set(found TRUE)
  elseif(dependencies)
    foreach(other IN LISTS dependencies)
      if(TARGET ${other})
        _bundle_fix_depends_on_pack(${other} found)
      endif()
      if(found)
        break()
      endif()
    endforeach()
  endif()
  set(${result} ${found} PARENT_SCOPE)
endfunction()

# Add the install rule of a pack. The pack's file name is known only after it is made, so the rule
# reads it from the stamp.
function(_bundle_fix_add_pack_install name component destination)
  _bundle_fix_package_directory(package)
  get_target_property(stamp ${name} BUNDLE_FIX_STAMP)
  _bundle_fix_config(at_build at_install)
  string(REPLACE "/${at_build}.stamp" "/${at_install}.stamp" stamp "${stamp}")
  install(CODE "
set(BUNDLE_FIX_PACK [==[${name}]==])
set(BUNDLE_FIX_STAMP \"${stamp}\")
set(BUNDLE_FIX_DESTINATION [==[${destination}]==])
include([==[${package}/scripts/InstallPack.cmake]==])
" COMPONENT "${component}" EXCLUDE_FROM_ALL)
endfunction()
