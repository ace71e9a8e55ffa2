"""Tests of the snippets in docs/ci.md, of action.yml and of .pre-commit-hooks.yaml.

The snippets are executed unchanged. What they download is a tarball like that of a release, whose
program runs the bundle-fix of the tests.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema.validators
import pytest
import yaml

from builders.pack import make_healthy_pack, make_incident_pack, make_tarball
from builders.pages import find_snippet
from builders.sandbox import require_sandbox
from bundle_fix import __version__
from integration.conftest import require_program
from integration.releases import OWN_PROGRAM, make_release, write_script

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/ci.md").read_text()
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
SCHEMAS = "check_jsonschema.builtin_schemas.vendor"

Ran = subprocess.CompletedProcess[str]


def validate_document(document: Any, schema: str) -> None:
    """Validate a document with the schema of a service that check-jsonschema ships."""
    text = (resources.files(SCHEMAS) / schema).read_text("utf-8")
    loaded = json.loads(text)
    jsonschema.validators.validator_for(loaded)(loaded).validate(document)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A directory with a pipeline's program in ``bin``, and a release in ``release``."""
    write_script(tmp_path / "bin/bundle-fix", OWN_PROGRAM)
    (tmp_path / "work/dist").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def download(workspace: Path) -> dict[str, str]:
    """The variables of a job that downloads a release."""
    require_program("curl", "the snippets download bundle-fix with it")
    tarball = make_release(workspace / "release")
    digest = hashlib.sha256(tarball.read_bytes()).hexdigest()
    return {"BUNDLE_FIX_URL": tarball.as_uri(), "BUNDLE_FIX_SHA256": digest}


def run(workspace: Path, script: str, shell: str = "bash -eo pipefail", **environ: str) -> Ran:
    path = f"{workspace / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(
        [*shell.split(), "-c", script], cwd=workspace / "work", capture_output=True, text=True,
        check=False, env={**os.environ, "PATH": path, **environ}, timeout=300,
    )  # fmt: skip


def write_packs(workspace: Path, *, broken: bool) -> None:
    """Write two packs to ``dist``; the second can be a broken one."""
    make = make_incident_pack if broken else make_healthy_pack
    for name in ("one", "two"):
        shutil.rmtree(workspace / name, ignore_errors=True)
    make_tarball(make_healthy_pack(workspace / "one"), workspace / "work/dist/a good one.tar.gz")
    make_tarball(make(workspace / "two"), workspace / "work/dist/server.tar.gz")


@pytest.mark.parametrize("broken", [False, True])
def test_the_gitlab_job_fails_only_for_a_broken_pack(
    workspace: Path, download: dict[str, str], broken: bool
) -> None:
    write_packs(workspace, broken=broken)
    pipeline = yaml.safe_load(find_snippet(PAGE, "yaml", "codequality"))
    validate_document(pipeline, "gitlab-ci.json")
    (definition,) = pipeline.values()
    assert set(definition["variables"]) == set(download)
    ran = run(workspace, "\n".join(definition["script"]), **download)
    assert ran.returncode == int(broken), ran.stderr
    reports = definition["artifacts"]["reports"]
    records = json.loads((workspace / "work" / reports["codequality"]).read_text())
    assert bool(records) == broken
    assert "<testsuite " in (workspace / "work" / reports["junit"]).read_text()


@pytest.mark.parametrize("broken", [False, True])
def test_the_jenkins_stage_fails_only_for_a_broken_pack(
    workspace: Path, download: dict[str, str], broken: bool
) -> None:
    write_packs(workspace, broken=broken)
    stage = find_snippet(PAGE, "groovy", "pipeline {")
    assert stage.count("{") == stage.count("}")
    script = stage.split("'''")[1]
    # Groovy removes a backslash at the end of a line with the line break, which sh does as well.
    assert re.findall(r"(\w+) = '", stage) == list(download)
    ran = run(workspace, script, "sh -xe", **download)
    assert ran.returncode == int(broken), ran.stderr
    for file in re.findall(r"(?:junit|pattern:) '([^']+)'", stage):
        assert (workspace / "work" / file).stat().st_size > 0
    (sarif,) = json.loads((workspace / "work/bundle-fix.sarif").read_text())["runs"]
    assert bool(sarif["results"]) == broken


def test_a_download_with_another_checksum_is_not_run(
    workspace: Path, download: dict[str, str]
) -> None:
    write_packs(workspace, broken=False)
    (definition,) = yaml.safe_load(find_snippet(PAGE, "yaml", "codequality")).values()
    download["BUNDLE_FIX_SHA256"] = "0" * 64
    scripts = {"\n".join(definition["script"]): "bash -eo pipefail",
               find_snippet(PAGE, "groovy", "pipeline {").split("'''")[1]: "sh -e"}  # fmt: skip
    for script, shell in scripts.items():
        ran = run(workspace, script, shell, **download)
        assert (ran.returncode, "bundle-fix.tar.gz: FAILED" in ran.stdout) == (1, True)
        assert not (workspace / "work/.bundle-fix").exists()


def test_the_shell_loops_fail_only_for_a_broken_pack(workspace: Path) -> None:
    write_packs(workspace, broken=False)
    loop, listed = find_snippet(PAGE, "sh", "for pack in"), find_snippet(PAGE, "sh", "-print0")
    assert run(workspace, loop, "sh").returncode == 0
    assert len(list((workspace / "work/dist").glob("*.check.json"))) == 2
    assert run(workspace, listed, "sh").returncode == 0
    assert len((workspace / "work/check.jsonl").read_text().splitlines()) == 2
    write_packs(workspace, broken=True)
    assert run(workspace, loop, "sh").returncode == 1
    assert run(workspace, listed, "sh").returncode == 1
    (workspace / "work/last").mkdir()
    shutil.copy(workspace / "work/dist/a good one.tar.gz", workspace / "work/last/server.tar.gz")
    ran = run(workspace, find_snippet(PAGE, "sh", "bundle-fix diff"), "sh")
    assert (ran.returncode, "BF701" in ran.stdout) == (1, True)


def test_the_command_lines_of_the_page_work(workspace: Path) -> None:
    write_packs(workspace, broken=True)
    shutil.copy(workspace / "work/dist/server.tar.gz", workspace / "work/pack.tar.gz")
    statuses = [
        run(workspace, line.split("  #")[0].strip()).returncode
        for line in PAGE.splitlines()
        if line.startswith("    bundle-fix ")
    ]
    # The gate, an ignore of another finding, writing the baseline, and the check with the baseline.
    assert statuses == [1, 1, 1, 0]


def test_the_github_workflow_and_the_action_match_the_schemas() -> None:
    workflow = yaml.safe_load(find_snippet(PAGE, "yaml", "runs-on"))
    # In YAML 1.1 the key "on" means true; GitHub reads it as a string.
    workflow["on"] = workflow.pop(True)
    validate_document(workflow, "github-workflows.json")
    validate_document(ACTION, "github-actions.json")
    (step,) = [s for s in workflow["jobs"]["pack"]["steps"] if "/bundle-fix@" in s.get("uses", "")]
    assert set(step["with"]) <= set(ACTION["inputs"])


def test_no_script_contains_the_text_of_an_input() -> None:
    steps = ACTION["runs"]["steps"]
    assert all("${{" not in step["run"] for step in steps)
    used = " ".join(value for step in steps for value in step["env"].values())
    assert set(re.findall(r"inputs\.([\w-]+)", used)) == set(ACTION["inputs"])


class Runner:
    """A GitHub runner for the steps of a composite action."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environ = {
            **os.environ, "RUNNER_TEMP": str(directory / "temp"), "GITHUB_ACTION_PATH": str(ROOT),
            "GITHUB_OUTPUT": str(directory / "output"),
            "GITHUB_STEP_SUMMARY": str(directory / "summary"),
        }  # fmt: skip
        (directory / "temp").mkdir(exist_ok=True)

    def run_step(self, number: int, cwd: Path, **inputs: str) -> Ran:
        """Run one step with the given inputs and the defaults of the others."""
        step = ACTION["runs"]["steps"][number]
        values = {f"inputs.{n}": inputs.get(n.replace("-", "_"), i.get("default", ""))
                 for n, i in ACTION["inputs"].items()}  # fmt: skip
        values["github.server_url"] = self.directory.as_uri()
        values["github.action_repository"] = "o/bundle-fix"
        environ = {
            name: re.sub(r"\$\{\{ ([\w.-]+) \}\}", lambda m: values[m[1]], value)
            for name, value in step["env"].items()
        }
        script = self.directory / "script.sh"
        script.write_text(step["run"])
        (self.directory / "output").write_text("")
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", script], cwd=cwd, check=False,
            env={**self.environ, **environ}, capture_output=True, text=True, timeout=600,
        )  # fmt: skip

    @property
    def status(self) -> str:
        """The output ``status``."""
        return (self.directory / "output").read_text().strip().removeprefix("status=")


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """A runner after the action's first step, which installs bundle-fix."""
    require_program("curl", "the action downloads bundle-fix with it")
    runner = Runner(tmp_path_factory.mktemp("runner"))
    make_release(runner.directory / f"o/bundle-fix/releases/download/v{__version__}")
    ran = runner.run_step(0, ROOT)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    return runner


def test_the_action_installs_only_the_file_with_the_checksum(tmp_path: Path) -> None:
    require_program("curl", "the action downloads bundle-fix with it")
    runner, mirror = Runner(tmp_path), tmp_path / "mirror"
    tarball = make_release(mirror, "9.9")
    digest = hashlib.sha256(tarball.read_bytes()).hexdigest()
    inputs = {"url": mirror.as_uri(), "version": "9.9"}
    program = tmp_path / "temp/bundle-fix/bin/bundle-fix"
    (mirror / "SHA256SUMS").write_text(f"{digest}  x-{tarball.name}\n")
    for wrong in ("", "0" * 64, "x"):
        ran = runner.run_step(0, tmp_path, **inputs, sha256=wrong)
        assert (ran.returncode, program.exists()) == (2, False)
        found = f"::error::the SHA-256 of {tarball.name} is {digest}"
        assert ran.stdout == f"{found}, not {wrong or 'listed in SHA256SUMS'}\n"
    assert runner.run_step(0, tmp_path, **inputs, sha256=digest).returncode == 0
    assert program.exists()
    ran = runner.run_step(0, tmp_path, url=mirror.as_uri(), version="9.8")
    assert ran.returncode != 0
    assert "bundle-fix-9.8-linux-" in ran.stderr


def test_the_action_installs_with_pip_if_the_input_says_so(tmp_path: Path) -> None:
    """A stub stands for the interpreter: pip itself needs the network for the dependencies."""
    runner, log = Runner(tmp_path), tmp_path / "log"
    write_script(tmp_path / "pip", f'echo "$@" >>"{log}"')
    write_script(tmp_path / "python", f'mkdir -p "$3/bin" && cp "{tmp_path}/pip" "$3/bin/python"')
    for version, source in {"": ROOT, "0.0.9": "bundle-fix==0.0.9"}.items():
        log.unlink(missing_ok=True)
        inputs = {"install": "pip", "python": f"{tmp_path}/python", "version": version}
        ran = runner.run_step(0, tmp_path, **inputs)
        assert ran.returncode == 0, ran.stderr
        assert log.read_text().split()[:3] == ["-m", "pip", "install"]
        assert log.read_text().split()[-1] == str(source)
    ran = runner.run_step(0, tmp_path, install="apt")
    assert (ran.returncode, ran.stdout) == (
        2, "::error::invalid input 'install': use tarball or pip\n"
    )  # fmt: skip


def test_the_action_fails_only_for_a_broken_pack(runner: Runner, workspace: Path) -> None:
    write_packs(workspace, broken=False)
    work = workspace / "work"
    ran = runner.run_step(1, work, artifacts="dist/*.tar.gz\n")
    assert (ran.returncode, runner.status) == (0, "0"), ran.stderr
    write_packs(workspace, broken=True)
    ran = runner.run_step(1, work, artifacts="\ndist/*good*\n\ndist/s*.gz\n", sarif="out.sarif")
    assert (ran.returncode, runner.status) == (1, "1")
    assert "::error file=dist/server.tar.gz/bin/server,title=BF102 host-wins" in ran.stdout
    assert "### bundle-fix: `dist/server.tar.gz`" in (runner.directory / "summary").read_text()
    (sarif,) = json.loads((work / "out.sarif").read_text())["runs"]
    assert [a["location"]["uri"] for a in sarif["artifacts"]] == [
        "dist/a%20good%20one.tar.gz", "dist/server.tar.gz",
    ]  # fmt: skip


def test_the_action_runs_a_program_of_the_first_artifact(runner: Runner, workspace: Path) -> None:
    require_sandbox()
    write_packs(workspace, broken=False)
    artifacts = "dist/*good*\ndist/server.tar.gz"
    ran = runner.run_step(
        2, workspace / "work", artifacts=artifacts, run="sh\n-c\necho $0\na b\n",
        run_arguments="--cwd=bin",
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "a b\n"), ran.stdout


def test_the_inputs_of_the_action_become_options(runner: Runner, workspace: Path) -> None:
    write_packs(workspace, broken=True)
    work = workspace / "work"
    arguments = "--host-provides=libjvm.so\n--ignore=BF102:bin/*=a = b\n--ignore=BF103=c d\n"
    arguments += "--ignore=BF203=;touch owned"
    ran = runner.run_step(1, work, artifacts="dist/server.tar.gz", arguments=arguments)
    assert (ran.returncode, runner.status) == (0, "0"), ran.stdout
    ran = runner.run_step(1, work, artifacts="dist/server.tar.gz", arguments=arguments,
                      fail_on="note", glibc="2.2")  # fmt: skip
    assert runner.status == "1"
    assert "BF401" in ran.stdout
    (work / "bundle.toml").write_text('[bundle]\nname = "x"\n[oops]\n')
    runner.run_step(1, work, artifacts="dist/server.tar.gz", spec="bundle.toml")
    assert runner.status == "2"


EVIL = '$(touch owned);`touch owned`"; touch owned; "\' ; touch owned #'


@pytest.mark.parametrize("name", ["artifacts", "spec", "baseline", "fail_on", "glibc", "sarif",
                                  "arguments"])  # fmt: skip
def test_no_input_of_the_action_is_executed(runner: Runner, workspace: Path, name: str) -> None:
    write_packs(workspace, broken=False)
    inputs = {"artifacts": "dist/server.tar.gz", name: EVIL}
    ran = runner.run_step(1, workspace / "work", **inputs)
    assert runner.status == ("0" if name == "sarif" else "2"), ran.stderr
    assert not (workspace / "work/owned").exists()


def test_a_missing_artifact_fails_the_action(runner: Runner, workspace: Path) -> None:
    for text in ("dist/*.tar.gz", "dist/none", "-rf", ""):
        ran = runner.run_step(1, workspace / "work", artifacts=text)
        assert (ran.returncode, runner.status) == (2, "2"), text
        assert ran.stderr.count("\n") == 1


def run_pre_commit(*arguments: str | Path, cwd: Path, home: Path) -> Ran:
    return subprocess.run(
        [sys.executable, "-m", "pre_commit", *map(str, arguments)], cwd=cwd, check=False,
        env={**os.environ, "PRE_COMMIT_HOME": str(home)}, capture_output=True, text=True,
        timeout=600,
    )  # fmt: skip


def test_the_hook_manifest_and_the_snippet_are_valid(tmp_path: Path) -> None:
    manifest = ROOT / ".pre-commit-hooks.yaml"
    ran = run_pre_commit("validate-manifest", manifest, cwd=tmp_path, home=tmp_path / "home")
    assert ran.returncode == 0, ran.stdout
    (tmp_path / "config.yaml").write_text(find_snippet(PAGE, "yaml", "repos:"))
    ran = run_pre_commit("validate-config", "config.yaml", cwd=tmp_path, home=tmp_path / "home")
    assert ran.returncode == 0, ran.stdout
    config = yaml.safe_load(find_snippet(PAGE, "yaml", "repos:"))
    (hook,) = yaml.safe_load(manifest.read_text())
    assert config["repos"][0]["hooks"][0]["id"] == hook["id"]


def run_git(*arguments: str | Path, cwd: Path) -> None:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
    subprocess.run(["git", *identity, *map(str, arguments)], cwd=cwd, check=True,
                   capture_output=True)  # fmt: skip


def test_pre_commit_installs_the_hook_and_refuses_a_broken_pack(tmp_path: Path) -> None:
    """The hook comes from a new repository of the files here, so changes need not be committed."""
    source, work, home = tmp_path / "source", tmp_path / "work", tmp_path / "home"
    ignored = shutil.ignore_patterns(
        ".git", ".venv", ".cache", "build", "demo", "output", ".*cache"
    )
    shutil.copytree(ROOT, source, symlinks=True, ignore=ignored)
    work.mkdir()
    for repository in (source, work):
        run_git("init", "-q", cwd=repository)
        run_git("add", "-A", cwd=repository)
        run_git("commit", "-q", "--allow-empty", "-m", "x", cwd=repository)
    make_tarball(make_incident_pack(tmp_path / "bad"), work / "bad.tar.gz")
    make_tarball(make_healthy_pack(tmp_path / "good"), work / "good.tgz")
    (work / "notes.txt").write_text("not a pack")
    run_git("add", "-A", cwd=work)
    revision = subprocess.run(["git", "rev-parse", "HEAD"], cwd=source, check=True,
                              capture_output=True, text=True).stdout.strip()  # fmt: skip
    (work / ".pre-commit-config.yaml").write_text(
        json.dumps({"repos": [{"repo": str(source), "rev": revision,
                               "hooks": [{"id": "bundle-fix-check"}]}]})
    )  # fmt: skip
    ran = run_pre_commit("run", "--all-files", cwd=work, home=home)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "BF102 host-wins" in ran.stdout
    assert "good.tgz: passed" in ran.stdout
    run_git("rm", "-qf", "bad.tar.gz", cwd=work)
    ran = run_pre_commit("run", "--all-files", cwd=work, home=home)
    assert ran.returncode == 0, ran.stdout
    assert "Passed" in ran.stdout
