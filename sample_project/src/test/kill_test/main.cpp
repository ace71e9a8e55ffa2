// Kills a writing process and verifies that the next process can read the written value.
#include "pegasus/client.h"
#include "utils/temporary_directory.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <iostream>

int main()
{
    const dsn::utils::temporary_directory dir;
    const pid_t writer = fork();
    if (writer == 0) {
        pegasus::client(dir.path()).set("written", "before the kill");
        raise(SIGKILL);
    }
    int status = 0;
    if (writer < 0 || waitpid(writer, &status, 0) != writer || !WIFSIGNALED(status)) {
        std::cerr << "pegasus_kill_test: the writer was not killed\n";
        return 1;
    }
    const auto found = pegasus::client(dir.path()).get("written");
    std::cout << "after the kill: " << found.value_or("lost") << '\n';
    return found ? 0 : 1;
}
