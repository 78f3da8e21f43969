"""The HTTP door: what comes in from senders and people, and the pages on which people see and decide.

Reading order: `deps` (what is injected), `app` (how it is put together), `door` (how an event comes in: `senders`,
`rate_limit`, `fast_alerts`, `inbox_items`, `quarantine`, `group_commit`), `intake` (the doors), `decisions`,
`incidents`, `health` (the API), `view`, `main_chart`, `pages` and `anomalies` (what people see), `problems` (how errors
are said), `body_limit`, `measures`.
"""
