// Measures the time to write and read keys.
#include "pegasus/client.h"
#include "utils/temporary_directory.h"

#include <chrono>
#include <iostream>
#include <string>

int main()
{
    constexpr int kKeys = 1000;
    const dsn::utils::temporary_directory dir;
    pegasus::client client(dir.path());
    const auto start = std::chrono::steady_clock::now();
    int lost = 0;
    for (int i = 0; i < kKeys; ++i) {
        const std::string key = "key" + std::to_string(i);
        client.set(key, key);
        lost += client.get(key) != key;
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    std::cout << kKeys << " keys written and read in " << took.count() << " s, lost " << lost
              << '\n';
    return lost == 0 ? 0 : 1;
}
