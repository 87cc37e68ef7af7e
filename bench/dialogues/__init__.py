"""Scripted customers talk to a model through the real bot: see docs/dialogues.md."""
