"""One module per figure that the README claims: `python -m benchmarks.NAME --data DIR [--json]`.

A table for people, one JSON object with --json; never a pass or a fail. Reading order: `report` (how figures are
shown), `scored_files` (the detector on a folder), `nab_score` and `delay_score` (the two scoring rules), then the
benchmarks: `nab`, `kpi`, `false_alarms`, `peers` (with `peer_detectors`), `judge`, `fit`, `sweep` (with
`live_prometheus`); `dask_fit` is what `fit --dask` runs. Suspects: `rootcause_cases` (the open data
as cases), `peer_rankings` (published methods), `rootcause`.
"""
