"""What a run is: the run itself, its classification, series keys, time units, failure types."""
