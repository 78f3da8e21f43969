"""The HTTP door: what comes in from senders and people, and the pages on which people see and decide.

Reading order: `deps` (what is injected), `app` (how it is put together), `door` (how an event comes in: `senders`,
`rate_limit`, `fast_alerts`, `inbox_items`, `quarantine`, `group_commit`), `intake` (the doors), `decisions`,
`incidents`, `health` (the API); `safety` and `visitor` (who may look, and which form counts), `listing`,
`alert_groups`, `view`, `main_chart` (what is read), `rendering`, `pages`, `incident_page`, `why_page`,
`silence_pages`, `sign_in_page`, `anomalies`, `weekly_page` (what people see), `live` and `events` (how pages stay
fresh), `problems` and `problem_page` (how errors are said), `body_limit`, `measures`.
"""
