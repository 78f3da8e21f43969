"""What makes the next incident less likely: limits recomputed from history, and the post-mortem.

Reading order: `history` (what may be learned from), `threshold` (a limit from history), `backtest` (what it would have
done), `rule` (the limit as a Prometheus rule); then `draft` (the sections from the record, without blame: `blameless`),
`postmortem` (put together as people read it), `review_plan` (who signs, what is left to do), `review_edit`,
`action_item` and `sign_off` (what people do to it), `rewrite` (a newer draft keeps that), `reminder` (what is due).
All pure.
"""
