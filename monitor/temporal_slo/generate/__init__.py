"""What is made from specs: recording rules and alerts."""
