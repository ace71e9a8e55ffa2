// A stand-in for gperftools' header. There is no profiler behind it: starting one says so.
#pragma once

extern "C" {

int ProfilerStart(const char *file) noexcept; // 0: not started
void ProfilerStop() noexcept;

} // extern "C"
