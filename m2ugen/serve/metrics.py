"""Counters for Prometheus, in a registry of the server's own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300)


class Metrics:
    """What /metrics tells. No label holds anything that a caller wrote."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.requests = Counter("m2ugen_requests", "HTTP requests.", ["route", "status"], registry=registry)
        self.jobs = Counter("m2ugen_jobs", "Finished jobs by kind and outcome.", ["kind", "outcome"], registry=registry)
        self.rejected = Counter("m2ugen_rejected", "Requests refused because the queue was full.", registry=registry)
        self.restarts = Counter("m2ugen_worker_losses", "Workers that ended unexpectedly.", registry=registry)
        self.queue = Gauge("m2ugen_queue_length", "Jobs that wait.", registry=registry)
        self.kept = Gauge("m2ugen_kept_bytes", "Bytes of the results that are kept.", registry=registry)
        self.batch = Histogram("m2ugen_batch_size", "Jobs read together.", buckets=(1, 2, 4, 8, 16), registry=registry)
        self.waited = Histogram("m2ugen_wait_seconds", "From acceptance to start.", buckets=SECONDS, registry=registry)
        self.ran = Histogram("m2ugen_run_seconds", "From start to end.", ["kind"], buckets=SECONDS, registry=registry)

    def text(self) -> bytes:
        """The state of all counters in Prometheus' text format."""
        return generate_latest(self.registry)
