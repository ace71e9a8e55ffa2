// Overwrites a few keys repeatedly and verifies the last value of each.
#include "pegasus/client.h"
#include "utils/temporary_directory.h"

#include <iostream>
#include <string>

int main()
{
    constexpr int kRounds = 200;
    constexpr int kKeys = 5;
    const dsn::utils::temporary_directory dir;
    pegasus::client client(dir.path());
    for (int i = 0; i < kRounds; ++i) {
        client.set("key" + std::to_string(i % kKeys), std::to_string(i));
    }
    for (int i = kRounds - kKeys; i < kRounds; ++i) {
        if (client.get("key" + std::to_string(i % kKeys)) != std::to_string(i)) {
            std::cerr << "pegasus_pressureclient: lost round " << i << '\n';
            return 1;
        }
    }
    std::cout << kRounds << " rounds under pressure\n";
    return 0;
}
