"""A deployer of Conan 2: lists the library directories of all dependencies for ``--search @FILE``.

Conan runs this file with its own Python, so it imports nothing of bundle-fix.
"""

import os
from typing import Any

FILE_NAME = "bundle-fix-search.txt"


def deploy(graph: Any, output_folder: str, **_: Any) -> None:
    """Write the directories to `FILE_NAME` in ``output_folder``, one a line.

    Source: https://docs.conan.io/2/reference/extensions/deployers.html
    """
    directories: dict[str, None] = {}
    for dependency in graph.root.conanfile.dependencies.host.values():
        info = dependency.cpp_info.aggregated_components()
        directories |= {path: None for path in info.libdirs if os.path.isdir(path)}  # noqa: PTH112
    with open(os.path.join(output_folder, FILE_NAME), "w", encoding="utf-8") as file:  # noqa: PTH118, PTH123
        file.writelines(f"{path}\n" for path in directories)
