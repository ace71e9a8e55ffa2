// A stand-in for gperftools' header: only what the sample calls.
#pragma once

extern "C" {

// The version of the copy that answers; each of the pointers may be null.
const char *tc_version(int *major, int *minor, const char **patch) noexcept;

} // extern "C"
