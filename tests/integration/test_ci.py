"""Tests of the snippets in docs/ci.md, of action.yml and of .pre-commit-hooks.yaml.

The snippets are executed unchanged; stubs replace the commands that install bundle-fix, which is
installed already.
"""

from __future__ import annotations

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
from builders.sandbox import require_sandbox

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/ci.md").read_text()
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
SCHEMAS = "check_jsonschema.builtin_schemas.vendor"

Ran = subprocess.CompletedProcess[str]


def find_snippet(language: str, word: str) -> str:
    """Return the code block of the page that contains ``word``."""
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    (found,) = [block for block in blocks if word in block]
    return str(found)


def validate_document(document: Any, schema: str) -> None:
    """Validate a document with the schema of a service that check-jsonschema ships."""
    text = (resources.files(SCHEMAS) / schema).read_text("utf-8")
    loaded = json.loads(text)
    jsonschema.validators.validator_for(loaded)(loaded).validate(document)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A directory with a pipeline's programs in ``bin``: bundle-fix, and stubs of pip and venv."""
    programs = tmp_path / "bin"
    programs.mkdir()
    scripts = {
        "bundle-fix": f'exec "{sys.executable}" -m bundle_fix "$@"',
        "pip": f'echo "pip $*" >>"{tmp_path}/installed"',
        # The snippets only call `python3 -m venv DIRECTORY`.
        "python3": 'mkdir -p "$3/bin" && : >"$3/bin/activate"',
    }
    for name, line in scripts.items():
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)
    (tmp_path / "work/dist").mkdir(parents=True)
    return tmp_path


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
def test_the_gitlab_job_fails_only_for_a_broken_pack(workspace: Path, broken: bool) -> None:
    write_packs(workspace, broken=broken)
    pipeline = yaml.safe_load(find_snippet("yaml", "codequality"))
    validate_document(pipeline, "gitlab-ci.json")
    (definition,) = pipeline.values()
    ran = run(workspace, "\n".join(definition["script"]))
    assert ran.returncode == int(broken), ran.stderr
    assert (workspace / "installed").read_text() == "pip install bundle-fix\n"
    reports = definition["artifacts"]["reports"]
    records = json.loads((workspace / "work" / reports["codequality"]).read_text())
    assert bool(records) == broken
    assert "<testsuite " in (workspace / "work" / reports["junit"]).read_text()


@pytest.mark.parametrize("broken", [False, True])
def test_the_jenkins_stage_fails_only_for_a_broken_pack(workspace: Path, broken: bool) -> None:
    write_packs(workspace, broken=broken)
    stage = find_snippet("groovy", "pipeline {")
    assert stage.count("{") == stage.count("}")
    script = stage.split("'''")[1]
    # Groovy removes a backslash at the end of a line with the line break, which sh does as well.
    ran = run(workspace, script, "sh -xe")
    assert ran.returncode == int(broken), ran.stderr
    for file in re.findall(r"(?:junit|pattern:) '([^']+)'", stage):
        assert (workspace / "work" / file).stat().st_size > 0
    (sarif,) = json.loads((workspace / "work/bundle-fix.sarif").read_text())["runs"]
    assert bool(sarif["results"]) == broken


def test_the_shell_loops_fail_only_for_a_broken_pack(workspace: Path) -> None:
    write_packs(workspace, broken=False)
    loop, listed = find_snippet("sh", "for pack in"), find_snippet("sh", "-print0")
    assert run(workspace, loop, "sh").returncode == 0
    assert len(list((workspace / "work/dist").glob("*.check.json"))) == 2
    assert run(workspace, listed, "sh").returncode == 0
    assert len((workspace / "work/check.jsonl").read_text().splitlines()) == 2
    write_packs(workspace, broken=True)
    assert run(workspace, loop, "sh").returncode == 1
    assert run(workspace, listed, "sh").returncode == 1
    (workspace / "work/last").mkdir()
    shutil.copy(workspace / "work/dist/a good one.tar.gz", workspace / "work/last/server.tar.gz")
    ran = run(workspace, find_snippet("sh", "bundle-fix diff"), "sh")
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
    workflow = yaml.safe_load(find_snippet("yaml", "runs-on"))
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
        values = {n: inputs.get(n.replace("-", "_"), i.get("default", ""))
                 for n, i in ACTION["inputs"].items()}  # fmt: skip
        environ = {
            name: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda m: values[m[1]], value)
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
    runner = Runner(tmp_path_factory.mktemp("runner"))
    ran = runner.run_step(0, ROOT, python=sys.executable)
    assert ran.returncode == 0, ran.stderr
    return runner


def test_the_action_fails_only_for_a_broken_pack(runner: Runner, workspace: Path) -> None:
    write_packs(workspace, broken=False)
    work = workspace / "work"
    ran = runner.run_step(1, work, artifacts="dist/*.tar.gz\n")
    assert (ran.returncode, runner.status) == (0, "0"), ran.stderr
    write_packs(workspace, broken=True)
    ran = runner.run_step(1, work, artifacts="\ndist/*good*\n\ndist/s*.gz\n", sarif="out.sarif")
    assert (ran.returncode, runner.status) == (1, "1")
    assert "::error file=dist/server.tar.gz/bin/server,title=BF102 host-wins::" in ran.stdout
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
    (tmp_path / "config.yaml").write_text(find_snippet("yaml", "repos:"))
    ran = run_pre_commit("validate-config", "config.yaml", cwd=tmp_path, home=tmp_path / "home")
    assert ran.returncode == 0, ran.stdout
    config = yaml.safe_load(find_snippet("yaml", "repos:"))
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
