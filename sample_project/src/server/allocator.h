#pragma once

#include <string>

namespace pegasus {

// Which allocator answers in this process, and from which file: "NAME VERSION (/path)".
std::string describe_allocator();

} // namespace pegasus
