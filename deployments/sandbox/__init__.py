"""The sandbox shop: a small shop of real processes that can be broken on purpose.

HAProxy in front of replicated services that call each other, Prometheus, Alertmanager, a git repository of
configuration, a load generator and faults. Read `layout` (what exists and where), `sandbox` (how to start and stop it),
`supervisor` and `faults` (what runs it and breaks it), `service` and `business` (one instance), `deploy` (how a
configuration reaches an instance), then the rest.
"""
