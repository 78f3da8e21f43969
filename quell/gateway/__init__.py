"""The HTTP door: what comes in from senders and people, and the pages on which people see and decide.

Reading order: `deps` (what is injected), `app` (how it is put together), `inbox_items` (what becomes of a payload),
`group_commit` (how it becomes durable), `intake`, `decisions`, `incidents`, `health` (the API), `view`, `main_chart`,
`pages` and `anomalies` (what people see), `problems` (how errors are said), `body_limit`, `measures`.
"""
