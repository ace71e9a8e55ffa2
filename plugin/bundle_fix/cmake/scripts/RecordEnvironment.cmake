# Write a digest of environment variables to a file, unless the file contains it already. The values
# themselves may be secrets.
#
#   VARIABLES  their names, a list
#   OUTPUT     the file
set(text "")
foreach(variable IN LISTS VARIABLES)
  string(APPEND text "${variable}=$ENV{${variable}}\n")
endforeach()
string(SHA256 digest "${text}")
set(previous "")
if(EXISTS "${OUTPUT}")
  file(READ "${OUTPUT}" previous)
endif()
if(NOT previous STREQUAL digest)
  file(WRITE "${OUTPUT}" "${digest}")
endif()
