"""The install rules of a build tree are read from CMake's install scripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundle_fix.pipelines.installation.install_scripts import read_install_rules

CONDITIONS = {
    "3.20": 'if("x${{CMAKE_INSTALL_COMPONENT}}x" STREQUAL "x{0}x"{1})',
    "4.2": 'if(CMAKE_INSTALL_COMPONENT STREQUAL "{0}"{1})',
}
CONFIGURATIONS = {"3.20": '"${CMAKE_INSTALL_CONFIG_NAME}"', "4.2": "CMAKE_INSTALL_CONFIG_NAME"}
OR_ALL = " OR NOT CMAKE_INSTALL_COMPONENT"
RULES = """\
# Install script for directory: /src
if(NOT CMAKE_INSTALL_COMPONENT)
endif()
{libs}
  if({config} MATCHES "^([Dd][Ee][Bb][Uu][Gg])$")
    file(INSTALL DESTINATION "${{CMAKE_INSTALL_PREFIX}}/lib" TYPE SHARED_LIBRARY FILES
      "/b/Debug/libx.so.1"
      )
  elseif({config} MATCHES "^([Rr][Ee][Ll][Ee][Aa][Ss][Ee])$")
    file(INSTALL DESTINATION "${{CMAKE_INSTALL_PREFIX}}/lib" TYPE SHARED_LIBRARY FILES
      "/b/Release/libx.so.1.2"
      "/b/Release/libx.so.1"
      )
  endif()
endif()
{tests}
  file(INSTALL DESTINATION "/opt/a b" TYPE PROGRAM RENAME "t" FILES "/b/some \\"test\\"")
endif()
{docs}
  file(INSTALL DESTINATION "${{CMAKE_INSTALL_PREFIX}}/." TYPE DIRECTORY PERMISSIONS OWNER_READ FILES
    "{directory}/" FILES_MATCHING REGEX "/[^/]*\\\\.so$" PERMISSIONS OWNER_READ)
  file(INSTALL DESTINATION "$ENV{{HOME}}" TYPE FILE FILES "/b/elsewhere")
endif()
  include("{directory}/sub/cmake_install.cmake")
  include("/missing/cmake_install.cmake")
"""


@pytest.mark.parametrize("version", CONDITIONS)
def test_rules_of_all_components_are_read(tmp_path: Path, version: str) -> None:
    condition = CONDITIONS[version]
    script = tmp_path / "cmake_install.cmake"
    script.write_text(
        RULES.format(
            libs=condition.format("libs", OR_ALL), tests=condition.format("tests", ""),
            docs=condition.format("docs", OR_ALL), directory=tmp_path / "prebuilt",
            config=CONFIGURATIONS[version],
        )
    )  # fmt: skip
    sub = tmp_path / "prebuilt/sub"
    sub.mkdir(parents=True)
    (sub / "cmake_install.cmake").write_text(
        f"{condition.format('run', OR_ALL)}\n  file(INSTALL DESTINATION"
        ' "${CMAKE_INSTALL_PREFIX}/bin" TYPE EXECUTABLE FILES "/b/app")\nendif()\n'
    )
    rules = read_install_rules(script, "/usr", "Release")
    assert [(r.component, r.path, str(r.source), r.is_default) for r in rules] == [
        ("libs", "/usr/lib/libx.so.1.2", "/b/Release/libx.so.1.2", True),
        ("libs", "/usr/lib/libx.so.1", "/b/Release/libx.so.1", True),
        ("tests", "/opt/a b/t", '/b/some "test"', False),
        ("docs", "/usr/sub/cmake_install.cmake", str(sub / "cmake_install.cmake"), True),
        ("run", "/usr/bin/app", "/b/app", True),
    ]
