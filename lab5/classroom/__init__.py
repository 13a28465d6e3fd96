"""A class's hand-ins in, marks and feedback out: many zips → worksheet, CSV, Gradescope, HTML.

PATH… ── found ──> HandIn, one a student (entry)
                      │
      batch ── marking: one hand-in in the rooms of grading/, by ``local`` or ``cluster`` ──> Marked
        └── results: kept as they finish
                      │
                      └──> the writers: what Moodle, Gradescope, Excel and a browser take
"""
