"""The checks: anybody's zip → a mark, with what is wrong, where, and how to mend it.

    the reading room (sandbox/)                  the code room, which has no answers
    zip ── evidence/ ──> handin.Evidence ─ cells ─> probes/ run them against stand_ins/
                             │      <── outcomes ──────┘
                             v
              checks/ ── one fact each ──> claims                             (core, worker)
                                             │
    suite.check_submission, here ── believes what a check can give ──> Graded (graded)
                                             └──> the terminal, JSON (render); pytest_plugin

``rubric`` writes the checks down as a page; a ``portrait`` is by what hand-ins are compared.
"""
