"""What is expected of a series, and what to say when it is not: baselines, verdicts, episodes.

Reading order: `columns` (statistics per column that bear gaps), `season` (what repeats), `spread` (how wide the band
must be), `baseline` (fitting), `archive` (storing a fit), `judgement` (columns of verdicts), `judge` (verdicts in
words), `episode` (when trouble becomes an alert, and when it is over), `finding` (what that alert says), `review`
(what a person should look at), `health` (whether the sweeps themselves are well), `burn_rate` and `burn_rules` (error
budgets, here and as Prometheus rules).

Fitting and judging are separate, pure and vectorised over a (time x series) matrix; another detector replaces `fit`
and `band` and keeps the rest. That other detector judges files today, and the sweep next: `scoring` (one series by row)
and `fleet` (many series: fit, then judge), over `grid`, `passage` (rows in order), `row` and `phase` (departures),
`streams` (the views), `tail` (rarity against the past), `rating` (one number), `band`, `calibration` (what it costs),
`memory` and `slices` (what is kept), `order` and `compiled` (the machinery).
"""
