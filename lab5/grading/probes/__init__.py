"""What only running the notebook's code shows, observed in the sandbox's child."""
