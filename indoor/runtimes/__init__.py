"""The ways to run a network: one protocol, one registry, one file a runtime."""

from indoor.runtimes.base import VARIANTS, Runnable, Variant, load_variant, native_variants

__all__ = ["VARIANTS", "Runnable", "Variant", "load_variant", "native_variants"]
