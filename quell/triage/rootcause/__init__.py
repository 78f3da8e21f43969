"""Suspects from metrics: which component is at the root, told from how all of them measured before and during.

The idea: z-scores of different components cannot be compared, so every component's trouble is expressed in the target's
own unit (extra request-seconds, failed calls), and what its callees account for is taken away; what is left is its own
part. Evidence that does not travel along calls (its processor, memory, disk, network), calls measured from both ends
and callers that wait for nobody slow are added to it. What more traffic explains is taken away. Below a fixed score
nobody is named: a wrong suspect costs more than none.

Reading order: `vocabulary` (what a metric measures), `window` (the two matrices), `past`
(old episodes in what was taken for normal), `twins` (two names, one component),
`shift` (how far a metric left its noise), `calls` (who calls whom), `symptom` (extra seconds and failures per node),
`share` (whose they are), `load` (what traffic explains), `local` (a node's own resources), `edges` (calls measured from
both ends), `waits` (slow ways, told from percentiles), `reason` (the words), `ranking` (all of it together).
`docs/rootcause.md` has the method with its figures and limits.
"""
