"""The shared record: what an alert, an incident, a mitigation or a timeline entry is, and how each may change.

Reading order: `labels`, `matcher`, `alert`; `service`, `signal`, `series`, `verdict`; `lifecycle` and `incident`;
`suspect`, `change`, `report`; `mitigation`, `outcome`, `journal`, `decision`; `fix`, `threshold`, `review`; `timeline`.
Everything here is pure: no clock, network, files, environment or randomness; `now` comes in as an argument.
"""
