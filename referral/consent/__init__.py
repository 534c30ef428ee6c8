"""A visitor's consent: granted, denied or pending, for each purpose and network, with its evidence. No I/O.

`decision.py` decides, from the signals that the other modules read: cookies of consent tools (`cookies.py`,
`cookies.toml`), IAB strings (`tcf.py`, `gpp.py`), and what the page and the browser tell (`message.py`).
"""
