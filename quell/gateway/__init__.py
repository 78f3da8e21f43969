"""The HTTP door: what comes in from senders and people, and the pages on which people see and decide.

Reading order: `deps` (what is injected), `app` (how it is put together), `inbox_items` (what becomes of a payload),
`group_commit` (how it becomes durable), `intake`, `decisions`, `incidents`, `health` (the API); `safety` and `visitor`
(who may look, and which form counts), `listing`, `alert_groups`, `view`, `main_chart` (what is read), `rendering`,
`pages`, `incident_page`, `sign_in_page`, `anomalies` (what people see), `live` and `events` (how pages stay fresh),
`problems` (how errors are said), `body_limit`, `measures`.
"""
