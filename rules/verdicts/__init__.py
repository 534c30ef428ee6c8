"""Verdicts: what the counts of a rule, of two texts and of a hold-out say, and how surely. No I/O.

`counts`, `looks` and `ripe` need nothing. The other modules import numpy and scipy, which cost a process 50
MB and half a second: import them in the function that judges, not at the head of a module.
"""
