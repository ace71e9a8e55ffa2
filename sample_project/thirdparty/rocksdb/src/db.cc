#include "rocksdb/db.h"

#include <stdlib.h> // aligned_alloc: <cstdlib> of old toolchains lacks it

#include <cstring>
#include <new>
#include <stdexcept>

namespace rocksdb {
namespace {

constexpr const char *kTable = "000001.sst";
constexpr const char *kLog = "000002.log";

void WriteText(std::ostream &out, const std::string &text) {
    const std::uint64_t size = text.size();
    out.write(reinterpret_cast<const char *>(&size), sizeof(size));
    out.write(text.data(), static_cast<std::streamsize>(size));
}

bool ReadText(std::istream &in, std::string &text) {
    std::uint64_t size = 0;
    if (!in.read(reinterpret_cast<char *>(&size), sizeof(size))) {
        return false;
    }
    text.resize(size);
    return static_cast<bool>(in.read(text.data(), static_cast<std::streamsize>(size)));
}

void Require(const std::ostream &out, const std::filesystem::path &file) {
    if (!out) {
        throw std::runtime_error("cannot write " + file.string());
    }
}

} // namespace

DB::DB(const std::filesystem::path &directory) : directory_(directory) {
    std::filesystem::create_directories(directory_);
    Load(directory_ / kTable);
    Load(directory_ / kLog);
    log_.open(directory_ / kLog, std::ios::binary | std::ios::app);
    Require(log_, directory_ / kLog);
}

void DB::Load(const std::filesystem::path &file) {
    std::ifstream in(file, std::ios::binary);
    std::string key;
    std::string value;
    while (ReadText(in, key) && ReadText(in, value)) { // skip an incomplete last record
        table_[key] = value;
    }
}

void DB::Put(const std::string &key, const std::string &value) {
    WriteText(log_, key);
    WriteText(log_, value);
    Require(log_.flush(), directory_ / kLog);
    table_[key] = value;
}

std::optional<std::string> DB::Get(const std::string &key) const {
    const auto found = table_.find(key);
    return found == table_.end() ? std::nullopt : std::make_optional(found->second);
}

LiveFiles DB::FlushAndListFiles() {
    const auto path = directory_ / kTable;
    std::ofstream sorted(path, std::ios::binary | std::ios::trunc);
    for (const auto &[key, value] : table_) {
        WriteText(sorted, key);
        WriteText(sorted, value);
    }
    sorted.close();
    Require(sorted, path);
    log_.close();
    log_.open(directory_ / kLog, std::ios::binary | std::ios::trunc);
    Require(log_, directory_ / kLog);

    LiveFiles live;
    live.count = 2;
    void *memory = aligned_alloc(alignof(LiveFile), live.count * sizeof(LiveFile));
    if (memory == nullptr) {
        throw std::bad_alloc();
    }
    live.files.reset(new (memory) LiveFile[live.count]());
    const char *names[] = {kTable, kLog};
    for (std::size_t i = 0; i < live.count; ++i) {
        std::strncpy(live.files[i].name, names[i], sizeof(live.files[i].name) - 1);
        live.files[i].size = std::filesystem::file_size(directory_ / names[i]);
    }
    return live;
}

const char *Version() { return "8.5.3"; }

} // namespace rocksdb
