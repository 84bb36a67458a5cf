"""The official LoadGen, driven carefully: one test a child process, a verdict only from its own end.

Only `official.py` imports the wheel.
"""
