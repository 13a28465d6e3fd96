"""The facts: one function a check, in the order of the assignment."""
