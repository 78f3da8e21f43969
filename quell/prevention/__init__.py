"""What makes the next incident less likely: limits recomputed from history, and the post-mortem.

Reading order: `history` (what may be learned from), `threshold` (a limit from history), `sensitivity` (a limit on the
detector's score, from labels), `prediction` (alerts per week to come), `backtest` (what a limit would have done),
`recomputation` (all of it for one signal), `rule` (the limit as a Prometheus rule) with `rule_cases` (its tests),
`watch` (what a limit would have alerted since, beside what was predicted), `postmortem` (the incident as people
read it), `care` (playbooks that nobody exercises), `weekly` (the report for analysts, a package of its own), `drill`
(the scorecard of a game day). All pure.
"""
