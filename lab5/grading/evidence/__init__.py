"""What the checks look at, read from foreign files, a module a kind of file; and what is no code yet (``blanks``)."""
