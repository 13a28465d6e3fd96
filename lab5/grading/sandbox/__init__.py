"""Foreign code and foreign files, in processes that may hang, crash or lie, and lose nothing else.

    here: Room (room) ── "enter" ──> serve (keeper): forks one keeper a visit
      │                                │
      └── Visit.ask ── messages ──>  keep: its limits, its clock, its end ── messages ──> the visitor:
                                                                             function(request) → answer

A room imports what is dear once. A visitor is forked from it, in namespaces of its own where the system
gives them, and holds no end of what the keeper says to us: its answer is data that the keeper measured.
A visitor whose requests are ``apart`` answers each in a process forked from itself.
With a wall (``wall``: bubblewrap) the room sees the interpreter, its libraries and nothing else.
"""
