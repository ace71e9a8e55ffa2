// The two layers of the stand-in allocator. They do not allocate, use thread-local data or need a
// constructor, because the first malloc of a process is called before any of these work.
#pragma once

#include <cstddef>

// Hidden: otherwise a second copy in the process would call the functions of the first.
namespace tcmalloc __attribute__((visibility("hidden"))) {

constexpr std::size_t kMinAlignment = 16;

// Lower layer (heap.cc): raw blocks from mmap, in free lists by size. TakeBlock sets *size to the
// size of the block and returns null without memory. Blocks are aligned to at least kMinAlignment.
void *TakeBlock(std::size_t *size);
void GiveBlock(void *block, std::size_t size);

// Upper layer (tcmalloc.cc): blocks with a header that names the copy of this library. Allocate
// returns null and sets errno on failure; Free aborts on a block of another copy or allocator.
void *Allocate(std::size_t size, std::size_t alignment = kMinAlignment);
void Free(void *pointer);

} // namespace tcmalloc
