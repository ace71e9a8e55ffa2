"""What docs/ci.md, action.yml and .pre-commit-hooks.yaml promise, as far as a machine can tell.

The snippets are taken from the page as they stand; what installs bundle-fix there is stood in for,
since it is installed here.
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

import jsonschema
import pytest
import yaml

from builders.pack import make_healthy_pack, make_incident_pack, make_tarball

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/ci.md").read_text()
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
SCHEMAS = "check_jsonschema.builtin_schemas.vendor"

Ran = subprocess.CompletedProcess[str]


def snippet(language: str, word: str) -> str:
    """The block of code in the page that has ``word`` in it."""
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    (found,) = [block for block in blocks if word in block]
    return str(found)


def holds(document: Any, schema: str) -> None:
    """Against a schema of a service, as check-jsonschema ships it."""
    text = (resources.files(SCHEMAS) / schema).read_text("utf-8")
    loaded = json.loads(text)
    jsonschema.validators.validator_for(loaded)(loaded).validate(document)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with programs of a pipeline in ``bin``: bundle-fix, and what stands in for pip."""
    programs = tmp_path / "bin"
    programs.mkdir()
    scripts = {
        "bundle-fix": f'exec "{sys.executable}" -m bundle_fix "$@"',
        "pip": f'echo "pip $*" >>"{tmp_path}/installed"',
        # Only "-m venv FOLDER" is asked of it.
        "python3": 'mkdir -p "$3/bin" && : >"$3/bin/activate"',
    }
    for name, line in scripts.items():
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)
    (tmp_path / "work/dist").mkdir(parents=True)
    return tmp_path


def run(place: Path, script: str, shell: str = "bash -eo pipefail", **environ: str) -> Ran:
    path = f"{place / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(
        [*shell.split(), "-c", script], cwd=place / "work", capture_output=True, text=True,
        check=False, env={**os.environ, "PATH": path, **environ}, timeout=300,
    )  # fmt: skip


def packs(place: Path, *, broken: bool) -> None:
    """Two packs in ``dist``, the second of which can be broken."""
    make = make_incident_pack if broken else make_healthy_pack
    for name in ("one", "two"):
        shutil.rmtree(place / name, ignore_errors=True)
    make_tarball(make_healthy_pack(place / "one"), place / "work/dist/a good one.tar.gz")
    make_tarball(make(place / "two"), place / "work/dist/server.tar.gz")


@pytest.mark.parametrize("broken", [False, True])
def test_the_job_of_gitlab(place: Path, broken: bool) -> None:
    packs(place, broken=broken)
    pipeline = yaml.safe_load(snippet("yaml", "codequality"))
    holds(pipeline, "gitlab-ci.json")
    (job,) = pipeline.values()
    ran = run(place, "\n".join(job["script"]))
    assert ran.returncode == int(broken), ran.stderr
    assert (place / "installed").read_text() == "pip install bundle-fix\n"
    reports = job["artifacts"]["reports"]
    records = json.loads((place / "work" / reports["codequality"]).read_text())
    assert bool(records) == broken
    assert "<testsuite " in (place / "work" / reports["junit"]).read_text()


@pytest.mark.parametrize("broken", [False, True])
def test_the_stage_of_jenkins(place: Path, broken: bool) -> None:
    packs(place, broken=broken)
    stage = snippet("groovy", "pipeline {")
    assert stage.count("{") == stage.count("}")
    script = stage.split("'''")[1]
    # Groovy takes a backslash at a line's end out with the line's end; what is left says the same.
    ran = run(place, script, "sh -xe")
    assert ran.returncode == int(broken), ran.stderr
    for file in re.findall(r"(?:junit|pattern:) '([^']+)'", stage):
        assert (place / "work" / file).stat().st_size > 0
    (sarif,) = json.loads((place / "work/bundle-fix.sarif").read_text())["runs"]
    assert bool(sarif["results"]) == broken


def test_the_plain_shell(place: Path) -> None:
    packs(place, broken=False)
    loop, listed = snippet("sh", "for pack in"), snippet("sh", "-print0")
    assert run(place, loop, "sh").returncode == 0
    assert len(list((place / "work/dist").glob("*.check.json"))) == 2
    assert run(place, listed, "sh").returncode == 0
    assert len((place / "work/check.jsonl").read_text().splitlines()) == 2
    packs(place, broken=True)
    assert run(place, loop, "sh").returncode == 1
    assert run(place, listed, "sh").returncode == 1
    (place / "work/last").mkdir()
    shutil.copy(place / "work/dist/a good one.tar.gz", place / "work/last/server.tar.gz")
    ran = run(place, snippet("sh", "bundle-fix diff"), "sh")
    assert (ran.returncode, "BF701" in ran.stdout) == (1, True)


def test_the_lines_that_the_page_shows_are_commands(place: Path) -> None:
    packs(place, broken=True)
    shutil.copy(place / "work/dist/server.tar.gz", place / "work/pack.tar.gz")
    statuses = [
        run(place, line.split("  #")[0].strip()).returncode
        for line in PAGE.splitlines()
        if line.startswith("    bundle-fix ")
    ]
    # The gate, the ignore (of something else), making the baseline, and checking against it.
    assert statuses == [1, 1, 1, 0]


def test_the_workflow_of_github_and_the_action_hold_to_githubs_schemas() -> None:
    workflow = yaml.safe_load(snippet("yaml", "runs-on"))
    # YAML 1.1 takes the key "on" for true; GitHub does not.
    workflow["on"] = workflow.pop(True)
    holds(workflow, "github-workflows.json")
    holds(ACTION, "github-actions.json")
    (step,) = [s for s in workflow["jobs"]["pack"]["steps"] if "/bundle-fix@" in s.get("uses", "")]
    assert set(step["with"]) <= set(ACTION["inputs"])


def test_no_text_of_a_user_is_put_into_a_script() -> None:
    steps = ACTION["runs"]["steps"]
    assert all("${{" not in step["run"] for step in steps)
    used = " ".join(value for step in steps for value in step["env"].values())
    assert set(re.findall(r"inputs\.([\w-]+)", used)) == set(ACTION["inputs"])


class Runner:
    """A runner of GitHub's, as far as the steps of a composite action are concerned."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environ = {
            **os.environ, "RUNNER_TEMP": str(directory / "temp"), "GITHUB_ACTION_PATH": str(ROOT),
            "GITHUB_OUTPUT": str(directory / "output"), "GITHUB_STEP_SUMMARY": str(directory / "summary"),
        }  # fmt: skip
        (directory / "temp").mkdir(exist_ok=True)

    def step(self, number: int, cwd: Path, **inputs: str) -> Ran:
        """Run one step with inputs; those that are not given have their defaults."""
        step = ACTION["runs"]["steps"][number]
        given = {n: inputs.get(n.replace("-", "_"), i.get("default", ""))
                 for n, i in ACTION["inputs"].items()}  # fmt: skip
        environ = {
            name: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda m: given[m[1]], value)
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
    """A runner on which the action's first step has installed bundle-fix."""
    made = Runner(tmp_path_factory.mktemp("runner"))
    ran = made.step(0, ROOT, python=sys.executable)
    assert ran.returncode == 0, ran.stderr
    return made


def test_the_action_passes_good_packs_and_fails_broken_ones(runner: Runner, place: Path) -> None:
    packs(place, broken=False)
    work = place / "work"
    ran = runner.step(1, work, artifacts="dist/*.tar.gz\n")
    assert (ran.returncode, runner.status) == (0, "0"), ran.stderr
    packs(place, broken=True)
    ran = runner.step(1, work, artifacts="\ndist/*good*\n\ndist/s*.gz\n", sarif="out.sarif")
    assert (ran.returncode, runner.status) == (1, "1")
    assert "::error file=dist/server.tar.gz/bin/server,title=BF102 host-wins::" in ran.stdout
    assert "### bundle-fix: `dist/server.tar.gz`" in (runner.directory / "summary").read_text()
    (sarif,) = json.loads((work / "out.sarif").read_text())["runs"]
    assert [a["location"]["uri"] for a in sarif["artifacts"]] == [
        "dist/a%20good%20one.tar.gz", "dist/server.tar.gz",
    ]  # fmt: skip


def test_the_inputs_of_the_action_become_options(runner: Runner, place: Path) -> None:
    packs(place, broken=True)
    work = place / "work"
    arguments = "--host-provides=libjvm.so\n--ignore=BF102:bin/*=a = b\n--ignore=BF103=c d\n"
    arguments += "--ignore=BF203=;touch owned"
    ran = runner.step(1, work, artifacts="dist/server.tar.gz", arguments=arguments)
    assert (ran.returncode, runner.status) == (0, "0"), ran.stdout
    ran = runner.step(1, work, artifacts="dist/server.tar.gz", arguments=arguments,
                      fail_on="note", glibc="2.2")  # fmt: skip
    assert runner.status == "1"
    assert "BF401" in ran.stdout
    (work / "bundle.toml").write_text('[bundle]\nname = "x"\n[oops]\n')
    runner.step(1, work, artifacts="dist/server.tar.gz", spec="bundle.toml")
    assert runner.status == "2"


EVIL = '$(touch owned);`touch owned`"; touch owned; "\' ; touch owned #'


@pytest.mark.parametrize("name", ["artifacts", "spec", "baseline", "fail_on", "glibc", "sarif",
                                  "arguments"])  # fmt: skip
def test_no_input_of_the_action_is_run(runner: Runner, place: Path, name: str) -> None:
    packs(place, broken=False)
    inputs = {"artifacts": "dist/server.tar.gz", name: EVIL}
    ran = runner.step(1, place / "work", **inputs)
    assert runner.status == ("0" if name == "sarif" else "2"), ran.stderr
    assert not (place / "work/owned").exists()


def test_an_artifact_that_is_not_there_fails_the_action(runner: Runner, place: Path) -> None:
    for text in ("dist/*.tar.gz", "dist/none", "-rf", ""):
        ran = runner.step(1, place / "work", artifacts=text)
        assert (ran.returncode, runner.status) == (2, "2"), text
        assert ran.stderr.count("\n") == 1


def pre_commit(*arguments: str | Path, cwd: Path, home: Path) -> Ran:
    return subprocess.run(
        [sys.executable, "-m", "pre_commit", *map(str, arguments)], cwd=cwd, check=False,
        env={**os.environ, "PRE_COMMIT_HOME": str(home)}, capture_output=True, text=True,
        timeout=600,
    )  # fmt: skip


def test_the_hooks_manifest_and_the_snippet_are_valid(tmp_path: Path) -> None:
    manifest = ROOT / ".pre-commit-hooks.yaml"
    ran = pre_commit("validate-manifest", manifest, cwd=tmp_path, home=tmp_path / "home")
    assert ran.returncode == 0, ran.stdout
    (tmp_path / "config.yaml").write_text(snippet("yaml", "repos:"))
    ran = pre_commit("validate-config", "config.yaml", cwd=tmp_path, home=tmp_path / "home")
    assert ran.returncode == 0, ran.stdout
    config = yaml.safe_load(snippet("yaml", "repos:"))
    (hook,) = yaml.safe_load(manifest.read_text())
    assert config["repos"][0]["hooks"][0]["id"] == hook["id"]


def git(*arguments: str | Path, cwd: Path) -> None:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
    subprocess.run(["git", *identity, *map(str, arguments)], cwd=cwd, check=True,
                   capture_output=True)  # fmt: skip


def test_pre_commit_installs_the_hook_and_stops_a_broken_pack(tmp_path: Path) -> None:
    """The hook is taken from a repository made of the files here: what is not committed counts."""
    source, work, home = tmp_path / "source", tmp_path / "work", tmp_path / "home"
    ignored = shutil.ignore_patterns(
        ".git", ".venv", ".cache", "build", "demo", "output", ".*cache"
    )
    shutil.copytree(ROOT, source, symlinks=True, ignore=ignored)
    work.mkdir()
    for repository in (source, work):
        git("init", "-q", cwd=repository)
        git("add", "-A", cwd=repository)
        git("commit", "-q", "--allow-empty", "-m", "x", cwd=repository)
    make_tarball(make_incident_pack(tmp_path / "bad"), work / "bad.tar.gz")
    make_tarball(make_healthy_pack(tmp_path / "good"), work / "good.tgz")
    (work / "notes.txt").write_text("not a pack")
    git("add", "-A", cwd=work)
    revision = subprocess.run(["git", "rev-parse", "HEAD"], cwd=source, check=True,
                              capture_output=True, text=True).stdout.strip()  # fmt: skip
    (work / ".pre-commit-config.yaml").write_text(
        json.dumps({"repos": [{"repo": str(source), "rev": revision,
                               "hooks": [{"id": "bundle-fix-check"}]}]})
    )  # fmt: skip
    ran = pre_commit("run", "--all-files", cwd=work, home=home)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "BF102 host-wins" in ran.stdout
    assert "good.tgz: passed" in ran.stdout
    git("rm", "-qf", "bad.tar.gz", cwd=work)
    ran = pre_commit("run", "--all-files", cwd=work, home=home)
    assert ran.returncode == 0, ran.stdout
    assert "Passed" in ran.stdout
