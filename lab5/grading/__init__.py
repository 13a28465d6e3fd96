"""The checks: anybody's zip → a mark, with what is wrong, where, and how to mend it.

    zip ── evidence/ ──> handin.Evidence: files, models, notebook's syntax, report's text and pictures
     │        └── probes/ run the notebook's code against stand_ins/, in a child (sandbox)
     v
    checks/ ── one fact each, on the evidence ──> Result          (core; worker makes them in a child)
     │
     v
    suite.check_submission ──> Graded (graded) ──> RENDERERS: the terminal, JSON (render); pytest_plugin

``rubric`` writes the checks down as a page.
"""
