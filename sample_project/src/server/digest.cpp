#include "server/digest.h"

#ifdef PEGASUS_HAVE_OPENSSL

#include <openssl/evp.h>

#include <stdexcept>

namespace pegasus {

std::string sha256(const std::string &bytes)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    if (EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_sha256(), nullptr) != 1) {
        throw std::runtime_error("OpenSSL has no SHA-256");
    }
    std::string text;
    for (unsigned int i = 0; i < size; ++i) {
        text += "0123456789abcdef"[digest[i] >> 4];
        text += "0123456789abcdef"[digest[i] & 0xf];
    }
    return text;
}

} // namespace pegasus

#else

namespace pegasus {

std::string sha256(const std::string &) { return "(built without OpenSSL)"; }

} // namespace pegasus

#endif
