"""What the notebook's code meets instead of what is slow, public, or not here."""
