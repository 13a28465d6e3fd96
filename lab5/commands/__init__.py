"""The commands, a verb each: what it takes, and what it prints.

argv ── __main__: which verb ──> VERB.main, under cli.command ──> the exit status
                                    ├── parser: its options, those of several verbs from cli
                                    └──> the steps and the rooms, imported when needed ──> what is printed
"""
