"""What makes the next incident less likely: limits recomputed from history, and the post-mortem.

Reading order: `history` (what may be learned from), `threshold` (a limit from history), `backtest` (what it would have
done), `rule` (the limit as a Prometheus rule), `postmortem` (the incident as people read it). All pure.
`care` knows which playbooks nobody exercises; `weekly` is the report for analysts, a package of its own.
"""
