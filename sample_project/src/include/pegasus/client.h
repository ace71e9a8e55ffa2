#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace pegasus {

// A client of one table. The sample has no network: the table is a local directory.
class client
{
public:
    explicit client(const std::filesystem::path &dir);
    ~client();

    void set(const std::string &hash_key, const std::string &value);
    std::optional<std::string> get(const std::string &hash_key) const;
    int partition_of(const std::string &hash_key) const;

private:
    struct state;
    std::unique_ptr<state> _state;
};

} // namespace pegasus
