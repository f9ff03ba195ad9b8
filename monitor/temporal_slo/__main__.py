"""`python -m temporal_slo`: the command `temporal-slo`."""

from temporal_slo.cli.main import entry

if __name__ == "__main__":
    entry()
