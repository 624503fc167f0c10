"""The machine a figure is taken on, what to distrust about it, and which code measured."""

from indoor.machine.code import (
    code_identity,
    code_sha256,
    environment_without_git,
    files_sha256,
    run_git,
)
from indoor.machine.diagnosis import Advice, diagnose
from indoor.machine.environment import read_environment
from indoor.machine.reading import computes_bfloat16, num_usable_cores, read_machine, read_moment

__all__ = [
    "Advice",
    "code_identity",
    "code_sha256",
    "computes_bfloat16",
    "diagnose",
    "environment_without_git",
    "files_sha256",
    "num_usable_cores",
    "read_environment",
    "read_machine",
    "read_moment",
    "run_git",
]
