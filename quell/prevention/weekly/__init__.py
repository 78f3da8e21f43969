"""The weekly report for analysts: what the record says of one ISO week, every number with what it was computed from.

Reading order: `week`, `figure`, `section`; `facts` (the records of a week); `times`, `trend`, `cause`, `noise`,
`isolation`, `approvals`, `signals` (precision and recall), `lessons` (what works), `upkeep`, `limits`, `overdue`,
`runs`; `report` puts them together; `words`, `strip`, `markdown` and `export` write them. All pure.
"""
