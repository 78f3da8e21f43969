"""`make demo`: one whole incident, live. Read `story` (what happens), `witness` (who is asked whether it did),
`scorecard` (what is measured), `account` (what is printed). Without the programs: `recording` (plays what `record`
made), `recorded` (the recorded world), `replay` (its clock), `recorded_story`."""
