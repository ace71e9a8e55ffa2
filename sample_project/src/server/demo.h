#pragma once

#include <filesystem>

namespace pegasus {

// Writes a table, takes a checkpoint of each replica and reads everything back from those.
// Throws when what comes back is not what was written.
void run_demo(const std::filesystem::path &dir);

} // namespace pegasus
