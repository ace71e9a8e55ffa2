// A stand-in for gperftools' header: starting the profiler always fails.
#pragma once

extern "C" {

int ProfilerStart(const char *file) noexcept; // 0: not started
void ProfilerStop() noexcept;

} // extern "C"
