"""What makes the next incident less likely: limits recomputed from history, and the post-mortem.

Reading order: `history` (what may be learned from), `threshold` (a limit from history), `sensitivity` (a limit on the
detector's score, from labels), `prediction` (alerts per week to come), `backtest` (what a limit would have done),
`recomputation` (all of it for one signal), `rule` (the limit as a Prometheus rule) with `rule_cases` (its tests),
`watch` (what a limit would have alerted since, beside what was predicted), `standing_limit` (limits for clients, from
measured traffic) with `refusals` (whom they refuse, in shadow and in force) and `refusal_words`; then `draft` (the
sections of a post-mortem from the record, without blame: `blameless`), `postmortem` (put together as people read it),
`review_plan` (who signs, what is left to do), `review_edit`, `action_item` and `sign_off` (what people do to it),
`rewrite` (a newer draft keeps that), `reminder` (what is due); `care` (playbooks that nobody exercises), `weekly`
(the report for analysts, a package of its own), `drill` (the scorecard of a game day). All pure.
"""
