"""What removes a cause for good: the commit to undo, the guard that would have caught it, and the canary's verdict.

Reading order: `candidate` (which commit); `guard` (what a file must keep to) with its checks `schema`, `assertion`,
`reference` and `document` (a file as guards see it), `gate` (all guards on one file), `guard_file` (read and
written); `evidence`, `key_proposal`, `line_proposal`, `place_search` and `proposal` (guards from a bad change),
`proving` (fails on the bad file, passes on the good ones); then the canary: `policy` (how much evidence), `rollout`
(its weights, step by step), `look` (when to judge), `sample` (what a side served), `comparison` (how much worse, with
its interval), of errors (`excess`), of all latencies and of saturation (`shift`), of p99 (`tail`), and `canary`
(promote, revert, or ask a person); `deployment_document` (what is known of deploying a service). All pure: files, git
and metrics come in as values.
"""
