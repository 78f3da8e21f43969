"""Quell's knowledge: the incident lifecycle without any orchestration engine.

Read `incidents/` first (the shared record), then the phases in the order of an incident's life: `detection/`,
`triage/`, `response/`, `resolution/`, `prevention/`. `ports.py` and `actuator.py` name what the pure part needs from
the world, `adapters/` supplies it, `config/` parses the user's files, `gateway/` is the HTTP door.
"""
