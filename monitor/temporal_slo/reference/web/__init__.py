"""Shared by the two HTTP applications: JSON in camelCase, problem details, bounded bodies, serving."""
