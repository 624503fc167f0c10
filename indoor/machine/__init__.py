"""The machine a figure is taken on, what to distrust about it, and which code measured."""

from indoor.machine.code import (
    CodeIdentity,
    code_identity,
    code_sha256,
    files_sha256,
    how_git_may_go_on,
    identify_code,
    redirects_git,
    run_git,
    unredirected_environment,
    why_git_failed,
)
from indoor.machine.diagnosis import Advice, diagnose
from indoor.machine.environment import read_environment
from indoor.machine.limits import UnreadableError
from indoor.machine.reading import (
    computes_bfloat16,
    free_memory_bytes,
    num_usable_cores,
    read_machine,
    read_moment,
    usable_physical_cores,
)

__all__ = [
    "Advice",
    "CodeIdentity",
    "UnreadableError",
    "code_identity",
    "code_sha256",
    "computes_bfloat16",
    "diagnose",
    "files_sha256",
    "free_memory_bytes",
    "how_git_may_go_on",
    "identify_code",
    "num_usable_cores",
    "read_environment",
    "read_machine",
    "read_moment",
    "redirects_git",
    "run_git",
    "unredirected_environment",
    "usable_physical_cores",
    "why_git_failed",
]
