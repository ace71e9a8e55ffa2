// A stand-in for gperftools' header, with the functions that the sample calls.
#pragma once

extern "C" {

// The version of the loaded copy; each pointer may be null.
const char *tc_version(int *major, int *minor, const char **patch) noexcept;

} // extern "C"
