"""`python -m temporal_slo`: the command `temporal-slo`."""

from temporal_slo.cli import entry

if __name__ == "__main__":
    entry()
