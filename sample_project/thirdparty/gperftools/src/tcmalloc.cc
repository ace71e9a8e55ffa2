// A stand-in for gperftools' allocator: a simple malloc that replaces the process's own.
#include "gperftools/tcmalloc.h"
#include "gperftools/profiler.h"
#include "heap.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

namespace tcmalloc {
namespace {

// The address is unique to this copy of the library and marks the blocks of this copy.
const char kVersion[] =
    "libtcmalloc_and_profiler 4." TEXT(TCMALLOC_MINOR) "." TEXT(TCMALLOC_PATCH);

struct alignas(kMinAlignment) Header { // directly before the caller's bytes
    void *block;                       // address and size from TakeBlock
    std::size_t block_size;
    std::size_t usable; // number of bytes for the caller
    const char *owner;  // kVersion of the copy that allocated the block. The last member, because
                        // the word before a block of another allocator is always readable.
};

bool IsPowerOfTwo(std::size_t n) { return n != 0 && (n & (n - 1)) == 0; }

// Print tcmalloc's message and abort. write(2), because functions that allocate cannot be used.
[[noreturn]] void Invalid(const char *action, void *pointer, const char *line) {
    char text[128] = "src/tcmalloc.cc:";
    strcat(text, line);
    strcat(text, "] Attempt to ");
    strcat(text, action);
    strcat(text, " invalid pointer 0x");
    char *end = text + strlen(text);
    const auto address = reinterpret_cast<std::uintptr_t>(pointer);
    int shift = sizeof(address) * 8 - 4;
    while (shift > 0 && (address >> shift) == 0) {
        shift -= 4;
    }
    for (; shift >= 0; shift -= 4) {
        *end++ = "0123456789abcdef"[(address >> shift) & 0xf];
    }
    *end++ = '\n';
    if (write(STDERR_FILENO, text, static_cast<std::size_t>(end - text)) < 0) {
        // stderr is closed; abort without the message.
    }
    abort();
}

Header *HeaderOf(void *pointer, const char *action, const char *line) {
    auto *header = static_cast<Header *>(pointer) - 1;
    if (header->owner != kVersion) {
        Invalid(action, pointer, line);
    }
    return header;
}

void *AllocateAligned(std::size_t alignment, std::size_t size) {
    if (!IsPowerOfTwo(alignment)) {
        errno = EINVAL;
        return nullptr;
    }
    return Allocate(size, alignment < kMinAlignment ? kMinAlignment : alignment);
}

} // namespace

void *Allocate(std::size_t size, std::size_t alignment) {
    constexpr std::size_t kMost = PTRDIFF_MAX / 4;
    std::size_t block_size = sizeof(Header) + size + (alignment - kMinAlignment);
    void *block = size > kMost || alignment > kMost ? nullptr : TakeBlock(&block_size);
    if (block == nullptr) {
        errno = ENOMEM;
        return nullptr;
    }
    const auto first = reinterpret_cast<std::uintptr_t>(block) + sizeof(Header);
    const auto user = (first + alignment - 1) / alignment * alignment;
    auto *header = reinterpret_cast<Header *>(user) - 1;
    header->block = block;
    header->block_size = block_size;
    header->usable = block_size - (user - reinterpret_cast<std::uintptr_t>(block));
    header->owner = kVersion;
    return header + 1;
}

void Free(void *pointer) {
    if (pointer == nullptr) {
        return;
    }
    Header *header = HeaderOf(pointer, "free", TEXT(__LINE__));
    header->owner = nullptr; // a second free of it is invalid too
    GiveBlock(header->block, header->block_size);
}

} // namespace tcmalloc

using tcmalloc::AllocateAligned;
using tcmalloc::HeaderOf;

extern "C" {

void *malloc(size_t size) noexcept { return tcmalloc::Allocate(size); }

void free(void *pointer) noexcept { tcmalloc::Free(pointer); }

void *calloc(size_t count, size_t size) noexcept {
    size_t bytes = 0;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return nullptr;
    }
    void *pointer = tcmalloc::Allocate(bytes);
    return pointer == nullptr ? nullptr : memset(pointer, 0, bytes);
}

void *realloc(void *pointer, size_t size) noexcept {
    if (pointer == nullptr) {
        return tcmalloc::Allocate(size);
    }
    if (size == 0) {
        tcmalloc::Free(pointer);
        return nullptr;
    }
    const size_t usable = HeaderOf(pointer, "realloc", TEXT(__LINE__))->usable;
    if (size <= usable) {
        return pointer;
    }
    void *bigger = tcmalloc::Allocate(size);
    if (bigger != nullptr) {
        memcpy(bigger, pointer, usable);
        tcmalloc::Free(pointer);
    }
    return bigger;
}

size_t malloc_usable_size(void *pointer) noexcept {
    return pointer == nullptr ? 0 : HeaderOf(pointer, "get the size of", TEXT(__LINE__))->usable;
}

void *memalign(size_t alignment, size_t size) noexcept { return AllocateAligned(alignment, size); }

int posix_memalign(void **result, size_t alignment, size_t size) noexcept {
    if (alignment % sizeof(void *) != 0 || !tcmalloc::IsPowerOfTwo(alignment)) {
        return EINVAL;
    }
    void *pointer = AllocateAligned(alignment, size);
    if (pointer == nullptr) {
        return ENOMEM;
    }
    *result = pointer;
    return 0;
}

void *valloc(size_t size) noexcept {
    return AllocateAligned(static_cast<size_t>(sysconf(_SC_PAGESIZE)), size);
}

void *pvalloc(size_t size) noexcept {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    return AllocateAligned(page, (size + page - 1) / page * page);
}

// gperftools has this function and C++17's aligned new since 2.6.2 (library version 4.5.0). With an
// older copy the program calls libc's aligned_alloc and returns the block to tcmalloc's free.
#if TCMALLOC_MINOR >= 5
void *aligned_alloc(size_t alignment, size_t size) noexcept {
    return AllocateAligned(alignment, size);
}
#endif

const char *tc_version(int *major, int *minor, const char **patch) noexcept {
    if (major != nullptr) {
        *major = 4;
    }
    if (minor != nullptr) {
        *minor = TCMALLOC_MINOR;
    }
    if (patch != nullptr) {
        *patch = "." TEXT(TCMALLOC_PATCH);
    }
    return tcmalloc::kVersion;
}

int ProfilerStart(const char *) noexcept { return 0; }

void ProfilerStop() noexcept {}

} // extern "C"
