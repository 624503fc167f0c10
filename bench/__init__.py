"""The pytest-benchmark suite: what each variant costs on this machine."""
