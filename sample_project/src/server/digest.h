#pragma once

#include <string>

namespace pegasus {

// SHA-256 in hexadecimal, or a placeholder if the server was built without OpenSSL.
std::string sha256(const std::string &bytes);

} // namespace pegasus
