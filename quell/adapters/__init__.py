"""The outside world, behind the protocols of `quell.ports` and `quell.actuator`; nothing else in `quell` touches it.

`store` keeps the record, `metrics` answers queries, `actuators` move what can be moved in production; the modules
beside them know one thing each: git, commands without a shell, a person's one-time code.
Each adapter turns the outside's failures into Unavailable (try again) or InvalidInput (change what you ask).
"""
