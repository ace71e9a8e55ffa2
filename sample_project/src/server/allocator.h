#pragma once

#include <string>

namespace pegasus {

// The allocator of this process and its file: "NAME VERSION (/path)".
std::string describe_allocator();

} // namespace pegasus
