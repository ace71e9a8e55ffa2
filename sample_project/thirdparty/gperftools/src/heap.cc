#include "heap.h"

#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>

namespace tcmalloc {
namespace {

constexpr std::size_t kSmallest = 64; // classes of 64, 128, ... 65536 bytes
constexpr std::size_t kClasses = 11;
constexpr std::size_t kLargest = kSmallest << (kClasses - 1);
constexpr std::size_t kChunk = 1 << 20; // small blocks are split from chunks of this size

struct FreeBlock {
    FreeBlock *next;
};

std::atomic_flag busy = ATOMIC_FLAG_INIT;
FreeBlock *free_blocks[kClasses];
char *chunk;
std::size_t chunk_left;

class Lock {
public:
    Lock() {
        while (busy.test_and_set(std::memory_order_acquire)) {
            sched_yield();
        }
    }
    ~Lock() { busy.clear(std::memory_order_release); }
    Lock(const Lock &) = delete;
    Lock &operator=(const Lock &) = delete;
};

std::size_t ClassOf(std::size_t size) {
    std::size_t size_class = 0;
    while ((kSmallest << size_class) < size) {
        ++size_class;
    }
    return size_class;
}

void *Map(std::size_t size) {
    void *pages = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return pages == MAP_FAILED ? nullptr : pages;
}

} // namespace

void *TakeBlock(std::size_t *size) {
    if (*size > kLargest) {
        const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
        *size = (*size + page - 1) / page * page;
        return Map(*size);
    }
    const std::size_t size_class = ClassOf(*size);
    *size = kSmallest << size_class;

    const Lock lock;
    if (FreeBlock *block = free_blocks[size_class]) {
        free_blocks[size_class] = block->next;
        return block;
    }
    if (chunk_left < *size) { // the rest of the old chunk is not used
        chunk = static_cast<char *>(Map(kChunk));
        chunk_left = chunk == nullptr ? 0 : kChunk;
        if (chunk == nullptr) {
            return nullptr;
        }
    }
    void *block = chunk;
    chunk += *size;
    chunk_left -= *size;
    return block;
}

void GiveBlock(void *block, std::size_t size) {
    if (size > kLargest) {
        munmap(block, size);
        return;
    }
    auto *free_block = static_cast<FreeBlock *>(block);
    const std::size_t size_class = ClassOf(size);

    const Lock lock;
    free_block->next = free_blocks[size_class];
    free_blocks[size_class] = free_block;
}

} // namespace tcmalloc
