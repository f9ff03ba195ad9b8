"""The activities of the reference workflows: each calls one service over HTTP."""
