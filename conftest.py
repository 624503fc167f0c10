"""Registers the plugin of the benchmark suite: its options, its storage and its tables."""

pytest_plugins = ["bench.installed", "bench.plugin"]
