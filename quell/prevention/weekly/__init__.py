"""The weekly report for analysts: what the record says of one ISO week, every number with what it was computed from.

Reading order: `week`, `figure`, `section`; `facts` (the records of a week); `times`, `cause`, `noise`, `isolation`,
`approvals`, `signals` (precision and recall), `lessons` (what works), `upkeep`, `limits`, `overdue`, `runs`; `report`
puts them together; `words`, `markdown` and `export` write them. All pure.
"""
