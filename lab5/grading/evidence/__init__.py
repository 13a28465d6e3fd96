"""What the checks look at, read from foreign files: a hand-in as a whole is ``handin.Evidence``."""
