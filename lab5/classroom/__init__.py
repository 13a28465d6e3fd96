"""A class's hand-ins in, marks and feedback out: many zips → worksheet, CSV, Gradescope, HTML.

PATH… ── found ──> HandIn, one a student (entry)
                      │
      batch ── the rooms of grading/, jobs at once ──> Marked, kept as they finish
                      │
                      └──> the writers: what Moodle, Gradescope, Excel and a browser take
"""
