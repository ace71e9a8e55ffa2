#pragma once

#include <cstdint>
#include <string_view>

namespace dsn::utils {

// FNV-1a: the partition of a key must not depend on the machine.
std::uint64_t hash64(std::string_view bytes);

} // namespace dsn::utils
