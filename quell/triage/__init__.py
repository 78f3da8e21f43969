"""Triage: from alerts, changes and reports to incidents with suspects.

Reading order: `intake` (what senders write, read as alerts, changes and reports), `relation` (why two services belong
together, in words), `placement` (which incident an alert or a report belongs to), `effect` (what an alert measures),
`impact` (severity and title), `linking` (which changes belong to an incident), `suspects` (who did it), `quiet` (when
an incident is over by itself), `rootcause` (suspects from metrics before and during, a package of its own),
`surroundings` (the signals of an incident's services as its input), `suspicion` (metrics and alerts as one ranking).
Everything is pure; every decision carries its reason.
"""
