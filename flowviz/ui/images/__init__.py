"""The parts of the page Images."""
