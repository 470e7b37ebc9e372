"""The parts of scripts/bootstrap. Standard library only: it runs before anything is installed."""
