"""The workflow that keeps the chain and comments: privileged, so nothing of a stranger runs."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from gate_records import PASSED, gate
from ruamel.yaml import YAML
from test_workflow import ROOT, commit, git, validate, workflow
from test_workflow import steps as steps_of

from indoor.cli.arguments import parse
from indoor.history.keep import read_history
from indoor.records import write_record

WORKFLOW = ROOT / ".github" / "workflows" / "history.yml"
JOBS = ("keep", "comment")

steps = partial(steps_of, path=WORKFLOW)


def script(job: str, name: str) -> str:
    """What a job's step runs."""
    found: str = next(one["run"] for one in steps(job) if one.get("name") == name)
    return found


def test_it_follows_the_published_schema() -> None:
    """GitHub would accept the file."""
    done = validate(WORKFLOW)
    assert done.returncode == 0, done.stdout


def test_it_runs_after_the_gate() -> None:
    """By the name that the gate's workflow has."""
    gated = YAML(typ="safe").load(WORKFLOW.parent / "gate.yml")
    assert workflow(WORKFLOW)["on"] == {
        "workflow_run": {"workflows": [gated["name"]], "types": ["completed"]}
    }


def test_each_job_may_do_what_it_is_for_and_no_more() -> None:
    """Nothing by default; keeping writes contents, commenting writes comments."""
    found = workflow(WORKFLOW)
    assert found["permissions"] == {}
    assert found["jobs"]["keep"]["permissions"] == {"actions": "read", "contents": "write"}
    assert found["jobs"]["comment"]["permissions"] == {
        "actions": "read",
        "contents": "read",
        "pull-requests": "write",
    }


def test_only_the_default_branchs_own_gates_are_kept() -> None:
    """A fork's branch may be called main, too, so the repository is compared as well."""
    condition = workflow(WORKFLOW)["jobs"]["keep"]["if"]
    assert "workflow_run.event != 'pull_request'" in condition
    assert "workflow_run.head_branch == github.event.repository.default_branch" in condition
    assert "workflow_run.head_repository.full_name == github.repository" in condition


@pytest.mark.parametrize("job", JOBS)
def test_no_code_of_a_pull_request_is_checked_out(job: str) -> None:
    """The checkout names no revision, so it takes the default branch, and leaves no token there."""
    found = [one for one in steps(job) if one.get("uses", "").startswith("actions/checkout@")]
    assert [set(one["with"]) <= {"fetch-depth", "persist-credentials"} for one in found] == [True]
    assert found[0]["with"]["persist-credentials"] is False


@pytest.mark.parametrize("job", JOBS)
def test_names_reach_scripts_by_the_environment_only(job: str) -> None:
    """A branch may be named like a command; every script is sound bash."""
    for one in steps(job):
        if "run" in one:
            assert "${{" not in one["run"]
            done = subprocess.run(
                ["bash", "-n"], input=one["run"], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr


def test_actions_are_githubs_own() -> None:
    """With a major version, and a comment beside it that says why."""
    lines = [line for line in WORKFLOW.read_text(encoding="utf-8").splitlines() if "uses:" in line]
    assert len(lines) == 5
    for line in lines:
        assert re.search(r"uses: actions/[a-z-]+@v\d+ # \S", line), line


@dataclass(frozen=True)
class Runner:
    """A clone in which a step runs, with a `gh` that hands out artefacts and notes its words."""

    folder: Path
    artefacts: Path
    remote: Path

    def run(self, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a script as GitHub does; the `indoor` is the real one."""
        bash = shutil.which("bash")
        assert bash is not None
        known = {
            "PATH": f"{self.folder.parent}/tools:{os.environ['PATH']}",
            "GITHUB_STEP_SUMMARY": str(self.folder.parent / "summary.md"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GH_REPO": "owner/name",
            "RUN_ID": "7",
            "RUN_URL": "https://example.org/7",
            "REMOTE": str(self.remote),
            "HEAD_OWNER": "someone",
            "HEAD_BRANCH": "$(touch broken)",
            "HEAD_SHA": "f" * 40,
            "FAKE_ARTEFACTS": str(self.artefacts),
            "FAKE_WORDS": str(self.folder.parent / "words"),
        }
        return subprocess.run(
            [bash, "-e", "-c", text],
            cwd=self.folder,
            env={**known, **environment},
            capture_output=True,
            text=True,
            check=False,
        )


GH = """#!/bin/sh
echo "$@" >> "$FAKE_WORDS"
case "$1 $2 $*" in
  "api repos"*artifacts*) ls "$FAKE_ARTEFACTS" | wc -l ;;
  "api --method"*) echo "$FAKE_NUMBER" ;;
  "run download"*" --name "*) mkdir -p gates && cp "$FAKE_ARTEFACTS"/gate/* gates ;;
  "run download"*) cp -r "$FAKE_ARTEFACTS"/. gates ;;
esac
"""


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    """Main with two commits, a remote without the chain's branch, and the link between the two."""
    folder, remote, artefacts = tmp_path / "clone", tmp_path / "remote.git", tmp_path / "artefacts"
    tools = tmp_path / "tools"
    for one in (folder, artefacts, tools):
        one.mkdir()
    git(tmp_path, "init", "--bare", str(remote))
    git(folder, "init")
    first, second = commit(folder, "first"), commit(folder, "second")
    report = gate(PASSED)
    link = replace(
        report,
        base=replace(report.base, commit=first),
        head=replace(report.head, commit=second, dirty=False),
    )
    write_record(artefacts / "gate-link" / "gate.json", link)
    write_record(artefacts / "gate" / "gate.json", link)
    (tools / "gh").write_text(GH, encoding="utf-8")
    (tools / "indoor").write_text(
        f'#!/bin/sh\nexec {sys.executable} -m indoor "$@"\n', encoding="utf-8"
    )
    for tool in tools.iterdir():
        tool.chmod(0o755)
    return Runner(folder, artefacts, remote)


def kept(runner: Runner) -> tuple[str, ...]:
    """The subjects of the commits that the remote's chain holds."""
    there = runner.folder.parent / "there"
    shutil.rmtree(there, ignore_errors=True)
    git(runner.folder.parent, "clone", "--branch", "indoor-history", str(runner.remote), str(there))
    return tuple(line.subject for line in read_history(there).commits)


def test_the_chain_is_kept_on_its_own_branch(runner: Runner) -> None:
    """The first time it is made, later added to; the same gate again changes nothing."""
    for expected in (1, 1):
        for name in ("Gates", "Keep"):
            done = runner.run(script("keep", name))
            assert done.returncode == 0, done.stderr
        assert kept(runner) == ("second",)
        assert git(runner.remote, "rev-list", "--count", "indoor-history") == str(expected)
        assert git(runner.remote, "ls-tree", "-r", "--name-only", "indoor-history") == (
            "history/commits.jsonl"
        )
        for made in ("gates", "chain"):
            shutil.rmtree(runner.folder / made)
    assert (runner.folder / "history.png").stat().st_size > 1000
    summary = (runner.folder.parent / "summary.md").read_text(encoding="utf-8")
    assert summary.startswith("## History: 0 slowdowns and 0 gains")


def test_a_run_without_a_gate_keeps_nothing_and_is_no_failure(runner: Runner) -> None:
    """Cancelled, or no release to compare with: there is no artefact."""
    shutil.rmtree(runner.artefacts)
    runner.artefacts.mkdir()
    for name in ("Gates", "Keep"):
        done = runner.run(script("keep", name))
        assert done.returncode == 0, done.stderr
    assert git(runner.remote, "branch", "--list") == ""


def test_a_pull_requests_verdict_is_commented(runner: Runner) -> None:
    """Told by our own code out of the JSON, on the pull request that GitHub names, one comment."""
    done = runner.run(script("comment", "Comment"), FAKE_NUMBER="12")
    assert done.returncode == 0, done.stderr
    text = (runner.folder / "comment.md").read_text(encoding="utf-8")
    assert text.startswith("## Gate: PASS")
    assert text.endswith("As the pull request's own run tells it: https://example.org/7\n")
    words = (runner.folder.parent / "words").read_text(encoding="utf-8").splitlines()
    assert words[-1] == "pr comment 12 --body-file comment.md --edit-last --create-if-none"
    assert "-f head=someone:$(touch broken)" in words[-2]
    assert not (runner.folder / "broken").exists()


def test_a_pull_request_that_went_on_gets_no_comment(runner: Runner) -> None:
    """GitHub names none with that commit."""
    done = runner.run(script("comment", "Comment"), FAKE_NUMBER="")
    assert done.returncode == 0, done.stderr
    words = (runner.folder.parent / "words").read_text(encoding="utf-8")
    assert "pr comment" not in words


def test_what_is_no_gate_is_not_commented(runner: Runner) -> None:
    """A file that a pull request made up is refused, and nothing of it is told."""
    (runner.artefacts / "gate" / "gate.json").write_text('"<b>@everyone</b>"', encoding="utf-8")
    done = runner.run(script("comment", "Comment"), FAKE_NUMBER="12")
    assert done.returncode != 0
    assert "pr comment" not in (runner.folder.parent / "words").read_text(encoding="utf-8")


@pytest.mark.parametrize("job", JOBS)
def test_its_commands_are_commands(job: str) -> None:
    """`indoor` knows every word of each call."""
    text = "\n".join(one["run"] for one in steps(job) if "run" in one)
    calls = re.findall(r"\bindoor ((?:gate|history) [^|>\n]*)", text)
    assert calls
    for call in calls:
        parse(call.split())
