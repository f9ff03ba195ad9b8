"""The mirror: each closed run counted once, open runs held by id."""
