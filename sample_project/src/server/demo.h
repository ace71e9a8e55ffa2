#pragma once

#include <filesystem>

namespace pegasus {

// Writes a table, takes a checkpoint of each replica and reads all keys from the checkpoints.
// Throws std::runtime_error if a value differs from the written one.
void run_demo(const std::filesystem::path &dir);

} // namespace pegasus
