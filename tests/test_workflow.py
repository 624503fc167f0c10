"""The copy-ready workflow: valid, least privilege, and its exit status is the gate's."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from indoor.cli.arguments import parse

ROOT = Path(__file__).parent.parent
WORKFLOW = ROOT / ".github" / "workflows" / "gate.yml"
JOBS = ("pull-request", "link", "nightly")


def workflow(path: Path = WORKFLOW) -> dict[str, Any]:
    """The workflow as YAML 1.2 reads it, in which `on` is a word."""
    loaded: dict[str, Any] = YAML(typ="safe").load(path)
    return loaded


def steps(job: str, path: Path = WORKFLOW) -> list[dict[str, Any]]:
    """A job's steps."""
    found: list[dict[str, Any]] = workflow(path)["jobs"][job]["steps"]
    return found


def step(job: str, name: str) -> dict[str, Any]:
    """A job's step by its name, or by the action that it uses."""
    return next(s for s in steps(job) if name in (s.get("name"), s.get("uses", "").split("@")[0]))


def validate(path: Path) -> subprocess.CompletedProcess[str]:
    """Check a file with the published schema of GitHub's workflows, as check-jsonschema has it."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema"]
    return subprocess.run(
        [*command, "vendor.github-workflows", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("path", sorted(WORKFLOW.parent.glob("*.yml")), ids=lambda path: path.name)
def test_the_workflow_follows_the_published_schema(path: Path) -> None:
    """GitHub would accept the file."""
    done = validate(path)
    assert done.returncode == 0, done.stdout


def test_the_audit_reads_the_pinned_versions() -> None:
    """With rights to read alone, and of the file that every installation is bound to."""
    path = WORKFLOW.with_name("test.yml")
    assert workflow(path)["permissions"] == {"contents": "read"}
    (audit,) = [s["run"] for s in steps("audit", path) if "run" in s]
    assert "pip-audit" in audit
    assert audit.endswith("--requirement constraints.txt")
    assert (ROOT / "constraints.txt").is_file()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("timeout-minutes: 60", "timeout-minutes: an hour"),
        ("runs-on: ubuntu-latest", "runs_on: ubuntu-latest"),
        ("contents: read", "contents: everything"),
        ("pull_request:", "pull_requests:"),
    ],
)
def test_a_broken_workflow_is_refused(tmp_path: Path, right: str, wrong: str) -> None:
    """The schema finds a wrong value and a misspelt key, so the test above can fail."""
    text = WORKFLOW.read_text(encoding="utf-8")
    assert right in text
    broken = tmp_path / "gate.yml"
    broken.write_text(text.replace(right, wrong), encoding="utf-8")
    done = validate(broken)
    assert done.returncode == 1
    assert "Schema validation errors" in done.stdout


def test_it_runs_on_pull_requests_on_main_and_at_night() -> None:
    """A pull request and a push to main have their jobs, everything else the nightly one."""
    found = workflow()
    assert set(found["on"]) == {"pull_request", "push", "schedule", "workflow_dispatch"}
    assert found["on"]["push"] == {"branches": ["main"]}
    others = ("pull_request", "push")
    assert found["jobs"]["pull-request"]["if"] == f"github.event_name == '{others[0]}'"
    assert found["jobs"]["link"]["if"] == f"github.event_name == '{others[1]}'"
    assert found["jobs"]["nightly"]["if"] == " && ".join(
        f"github.event_name != '{event}'" for event in others
    )


def test_it_may_only_read() -> None:
    """The token may read the repository and nothing else, in every job."""
    found = workflow()
    assert found["permissions"] == {"contents": "read"}
    assert not [job for job in found["jobs"].values() if "permissions" in job]
    for job in JOBS:
        assert step(job, "actions/checkout")["with"]["persist-credentials"] is False


def test_nothing_of_a_pull_request_is_pasted_into_a_script() -> None:
    """A branch may be named like a command, so names reach a script by its environment only."""
    scripts = [s["run"] for job in JOBS for s in steps(job) if "run" in s]
    assert scripts
    assert not [script for script in scripts if "${{" in script]


def test_actions_are_pinned_to_a_major_version_with_its_reason() -> None:
    """Every action is named with a major version, and a comment beside it says why."""
    lines = [line for line in WORKFLOW.read_text(encoding="utf-8").splitlines() if "uses:" in line]
    assert len(lines) == 10
    for line in lines:
        assert re.search(r"uses: actions/[a-z-]+@v\d+ # \S", line), line


@pytest.mark.parametrize("job", JOBS)
def test_base_is_there_to_be_checked_out(job: str) -> None:
    """The whole history is fetched: base is a commit of it."""
    assert step(job, "actions/checkout")["with"]["fetch-depth"] == 0


@pytest.mark.parametrize("job", JOBS)
def test_the_json_is_kept_whatever_the_verdict(job: str) -> None:
    """The file that `--out` names and the page are uploaded after a red gate, too."""
    upload = step(job, "actions/upload-artifact")
    assert upload["if"].startswith("always()")
    record, page = upload["with"]["path"].split()
    assert f"--out {record} --html {page} " in step(job, "Gate")["run"]


@pytest.mark.parametrize("job", JOBS)
def test_every_script_is_sound(job: str) -> None:
    """Bash accepts each script, and what it installs is a file of this repository."""
    for entry in steps(job):
        if "run" in entry:
            done = subprocess.run(
                ["bash", "-n"], input=entry["run"], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
    files = step(job, "actions/setup-python")["with"]["cache-dependency-path"].split()
    assert files == ["constraints.txt", "pyproject.toml"]
    assert all((ROOT / name).is_file() for name in files)


def git(folder: Path, *words: str) -> str:
    """Run git without this machine's settings, and return what it says."""
    known = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main")
    done = subprocess.run(
        ["git", *who, *words],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **known},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def commit(folder: Path, name: str) -> str:
    """Commit a file, and return the commit."""
    (folder / name).write_text(name, encoding="utf-8")
    git(folder, "add", name)
    git(folder, "commit", "--message", name)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def pull_request(tmp_path: Path) -> tuple[Path, str]:
    """A clone as GitHub checks out a pull request, main having gone on; and the merge base."""
    folder = tmp_path / "a clone"
    folder.mkdir()
    git(folder, "init")
    commit(folder, "first")
    git(folder, "tag", "v0.1.0")
    base = commit(folder, "base")
    git(folder, "checkout", "-b", "change")
    commit(folder, "change")
    git(folder, "checkout", "main")
    git(folder, "checkout", "--detach")
    git(folder, "merge", "--no-ff", "--no-edit", "change")
    merged = git(folder, "rev-parse", "HEAD")
    git(folder, "checkout", "main")
    commit(folder, "of others")
    git(folder, "update-ref", "refs/remotes/origin/main", "main")
    git(folder, "checkout", "--detach", merged)
    return folder, base


def run_script(folder: Path, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a step's script as GitHub does, with an `indoor` that only tells its words."""
    tools = folder / "gate" / "bin"
    tools.mkdir(parents=True, exist_ok=True)
    fake = tools / "indoor"
    newest = 'if [ "$1" = history ]; then test -n "$FAKE_NEWEST" && echo "$FAKE_NEWEST"; exit; fi'
    fake.write_text(
        f'#!/bin/sh\n{newest}\necho "$@"\nexit "${{FAKE_STATUS:-0}}"\n', encoding="utf-8"
    )
    fake.chmod(0o755)
    bash = shutil.which("bash")
    assert bash is not None
    known = {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "RUNNER_TEMP": str(folder),
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        "GITHUB_OUTPUT": str(folder / "output"),
        "GIT_CONFIG_GLOBAL": os.devnull,
    }
    return subprocess.run(
        [bash, "-e", "-c", script],
        cwd=folder,
        env={**known, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("status", ["0", "1", "2", "3"])
@pytest.mark.parametrize("job", JOBS)
def test_the_exit_status_is_the_gates(
    pull_request: tuple[Path, str], job: str, status: str
) -> None:
    """The step ends as the gate ended, and the summary holds what the gate printed."""
    folder, _ = pull_request
    names = {"BASE_BRANCH": "main", "LAST_RELEASE": "v0.1.0"}
    done = run_script(folder, step(job, "Gate")["run"], FAKE_STATUS=status, **names)
    assert done.returncode == int(status)
    assert (folder / "summary.md").read_text(encoding="utf-8").startswith("gate --base ")


@pytest.mark.parametrize("job", JOBS)
def test_the_gate_takes_the_words(pull_request: tuple[Path, str], job: str) -> None:
    """`indoor gate` knows every word, and base is the merge base, a commit before or a release."""
    folder, base = pull_request
    names = {"BASE_BRANCH": "main", "LAST_RELEASE": "v0.1.0"}
    run_script(folder, step(job, "Gate")["run"], **names)
    parsed = parse((folder / "summary.md").read_text(encoding="utf-8").split())
    before = git(folder, "rev-parse", "HEAD^1")
    assert parsed.base == {"pull-request": base, "link": before, "nightly": "v0.1.0"}[job]
    assert parsed.head == (None if job == "pull-request" else "HEAD")
    assert parsed.format == "markdown"
    assert parsed.out == Path("gate.json")


def test_an_unknown_base_ends_the_step(pull_request: tuple[Path, str]) -> None:
    """Where the base branch was not fetched the step is red, and the gate is not called."""
    folder, _ = pull_request
    done = run_script(folder, step("pull-request", "Gate")["run"], BASE_BRANCH="nowhere")
    assert done.returncode != 0
    assert not (folder / "summary.md").exists()


def test_a_link_begins_at_the_newest_commit_of_the_chain(pull_request: tuple[Path, str]) -> None:
    """So that a gate that was cancelled leaves no gap; its words are a command, too."""
    folder, base = pull_request
    script = step("link", "Gate")["run"]
    run_script(folder, script, FAKE_NEWEST=base)
    assert parse((folder / "summary.md").read_text(encoding="utf-8").split()).base == base
    (words,) = re.findall(r"\$\(indoor (.*?) \|\|", script)
    assert parse(words.split()).newest


def test_the_nightly_job_compares_with_the_last_release(pull_request: tuple[Path, str]) -> None:
    """The newest version tag behind HEAD is the base; other tags are not releases."""
    folder, _ = pull_request
    git(folder, "tag", "nightly-build")
    done = run_script(folder, step("nightly", "Last release")["run"])
    assert done.returncode == 0
    assert (folder / "output").read_text(encoding="utf-8") == "tag=v0.1.0\n"


def test_without_a_release_there_is_nothing_to_compare(pull_request: tuple[Path, str]) -> None:
    """Without a tag the step says so, and every later step waits for one."""
    folder, _ = pull_request
    git(folder, "tag", "--delete", "v0.1.0")
    done = run_script(folder, step("nightly", "Last release")["run"])
    assert done.returncode == 0
    assert "::notice::no tag v*" in done.stdout
    assert not (folder / "output").exists()
    names = [s.get("name", s.get("uses", "")) for s in steps("nightly")]
    after = steps("nightly")[names.index("Last release") + 1 :]
    assert len(after) == 3
    assert all("steps.release.outputs.tag" in s["if"] for s in after)
