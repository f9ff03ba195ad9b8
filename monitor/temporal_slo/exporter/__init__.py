"""The exporter: Temporal visibility in, Prometheus metrics out.

Visibility (adapter) -> Mirror (what was counted) -> Snapshot (frozen) -> collect (pure) -> Exposition (served).
"""
