"""What is expected of a series, and what to say when it is not: baselines, verdicts, episodes.

Reading order: `streams` (the views, and what kind of evidence each gives), `row` (departures of a row from everything
expected), `phase` and `outlook` (the same time on earlier days), `tail` (rarity against the past), `rating` (one
number) and `band` (where it speaks), over `memory` (what is remembered of a series), `order` and `compiled` (the
machinery). `passage` goes over the rows of one series; `scoring` does so for files, `fleet` for many series: fit,
then judge.

On top of it what people deal with: `baseline` (a fleet with names), `archive` and `packed` (storing it), `judgement`
(columns of verdicts), `judged`, `judge` and `words` (verdicts in words), `verdict_table` (storing them), `calibration`
(what a score costs), `episode` (when trouble becomes an alert, and when it is over), `finding` (what that alert says),
`review` (what a person should look at), `health` (whether the sweeps themselves are well), `burn_rate` and `burn_rules`
(error budgets, here and as Prometheus rules).
"""
