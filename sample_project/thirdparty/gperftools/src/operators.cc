// Every replaceable form of new and delete.
#include "heap.h"

#include <new>

namespace {

using tcmalloc::Free;
using tcmalloc::kMinAlignment;

void *New(std::size_t size, std::size_t alignment = kMinAlignment) {
    for (;;) {
        if (void *pointer = tcmalloc::Allocate(size, alignment)) {
            return pointer;
        }
        const std::new_handler handler = std::get_new_handler();
        if (handler == nullptr) {
            throw std::bad_alloc();
        }
        handler();
    }
}

void *NewOrNull(std::size_t size, std::size_t alignment = kMinAlignment) noexcept {
    try {
        return New(size, alignment);
    } catch (const std::bad_alloc &) {
        return nullptr;
    }
}

} // namespace

void *operator new(std::size_t size) { return New(size); }
void *operator new[](std::size_t size) { return New(size); }
void *operator new(std::size_t size, const std::nothrow_t &) noexcept { return NewOrNull(size); }
void *operator new[](std::size_t size, const std::nothrow_t &) noexcept { return NewOrNull(size); }

void operator delete(void *p) noexcept { Free(p); }
void operator delete[](void *p) noexcept { Free(p); }
void operator delete(void *p, std::size_t) noexcept { Free(p); }
void operator delete[](void *p, std::size_t) noexcept { Free(p); }
void operator delete(void *p, const std::nothrow_t &) noexcept { Free(p); }
void operator delete[](void *p, const std::nothrow_t &) noexcept { Free(p); }

#if TCMALLOC_MINOR >= 5 // see aligned_alloc in tcmalloc.cc

namespace {

std::size_t Bytes(std::align_val_t alignment) {
    const auto bytes = static_cast<std::size_t>(alignment);
    return bytes < kMinAlignment ? kMinAlignment : bytes;
}

} // namespace

void *operator new(std::size_t size, std::align_val_t a) { return New(size, Bytes(a)); }
void *operator new[](std::size_t size, std::align_val_t a) { return New(size, Bytes(a)); }
void *operator new(std::size_t size, std::align_val_t a, const std::nothrow_t &) noexcept {
    return NewOrNull(size, Bytes(a));
}
void *operator new[](std::size_t size, std::align_val_t a, const std::nothrow_t &) noexcept {
    return NewOrNull(size, Bytes(a));
}

void operator delete(void *p, std::align_val_t) noexcept { Free(p); }
void operator delete[](void *p, std::align_val_t) noexcept { Free(p); }
void operator delete(void *p, std::size_t, std::align_val_t) noexcept { Free(p); }
void operator delete[](void *p, std::size_t, std::align_val_t) noexcept { Free(p); }
void operator delete(void *p, std::align_val_t, const std::nothrow_t &) noexcept { Free(p); }
void operator delete[](void *p, std::align_val_t, const std::nothrow_t &) noexcept { Free(p); }

#endif
