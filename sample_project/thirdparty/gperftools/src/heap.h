// The two layers of the stand-in allocator. Nothing here allocates, uses thread-local data or
// needs a constructor: the first malloc of a process comes before any of that works.
#pragma once

#include <cstddef>

// Hidden: were they exported, a second copy in the process would call the first one's.
namespace tcmalloc __attribute__((visibility("hidden"))) {

constexpr std::size_t kMinAlignment = 16;

// Lower layer (heap.cc): raw blocks from mmap, kept by size. TakeBlock rounds *size up to what it
// gives; null when the system has no more. Blocks are aligned to kMinAlignment at least.
void *TakeBlock(std::size_t *size);
void GiveBlock(void *block, std::size_t size);

// Upper layer (tcmalloc.cc): blocks with a header that names the copy of this library that made
// them. Allocate returns null and sets errno; Free aborts on a block that this copy did not make.
void *Allocate(std::size_t size, std::size_t alignment = kMinAlignment);
void Free(void *pointer);

} // namespace tcmalloc
