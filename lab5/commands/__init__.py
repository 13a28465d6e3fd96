"""The commands, a verb each: what it takes, and what it prints. ``lab5.__main__`` lists them."""
