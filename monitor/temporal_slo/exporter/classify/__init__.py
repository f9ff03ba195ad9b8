"""Classification: what a closed run is counted as."""
