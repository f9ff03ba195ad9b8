"""Exposition: from the mirror's state to the bytes that a scrape gets."""
